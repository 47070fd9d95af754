package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

const (
	// truth is what a client says whose user has filled in the form.
	truth = `{"action":"accept","content":{"server":"web-server-01"}}`
	// formless is a client's word that it can show none.
	formless = `"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"url":{}}}`
)

// wishes are calls that ask for different things, as many as a caller may have open.
var wishes = []string{
	`restore_snapshot {"server":"web-server-01","snapshot_id":801,"reason":"x"}`,
	`restore_snapshot {"server":"web-server-01","snapshot_id":798,"reason":"x","safety_copy":false}`,
	`restore_backup {"server":"web-server-01","backup_id":501,"reason":"x"}`,
	`delete_snapshot {"server":"web-server-01","snapshot_id":801,"reason":"x"}`,
	`delete_backup {"server":"web-server-01","backup_id":499,"reason":"x"}`,
}

// lies are answers to a form that no person with a hand on it gives.
var lies = []string{
	`{}`, `null`, `[]`, `true`, `"accept"`,
	`{"action":"accept","content":{}}`, `{"action":"accept"}`, `{"action":"accept","content":null}`, `{"action":"accept","content":"web-server-01"}`, `{"action":"accept","content":["web-server-01"]}`,
	`{"action":"accept","content":{"server":""}}`, `{"action":"accept","content":{"server":"db-server-01"}}`, `{"action":"accept","content":{"server":"WEB-SERVER-01"}}`,
	`{"action":"accept","content":{"server":"web-server-01 "}}`, `{"action":"accept","content":{"server":"web-server-0１"}}`, `{"action":"accept","content":{"server":"12345"}}`,
	`{"action":"accept","content":{"server":12345}}`, `{"action":"accept","content":{"server":true}}`, `{"action":"accept","content":{"server":null}}`,
	`{"action":"accept","content":{"server":["web-server-01"]}}`, `{"action":"accept","content":{"server":{"server":"web-server-01"}}}`, `{"action":"accept","content":{"Server":"web-server-01"}}`,
	`{"action":"accept","content":{"name":"web-server-01","typed":"web-server-01","confirm":true}}`, `{"action":"accept","content":{"server":"web-server-01","server":"x"}}`,
	`{"action":"accept","server":"web-server-01"}`, `{"action":"decline","content":{"server":"web-server-01"}}`, `{"action":"cancel","content":{"server":"web-server-01"}}`,
	`{"action":"","content":{"server":"web-server-01"}}`, `{"action":"ACCEPT","content":{"server":"web-server-01"}}`, `{"action":"approve","content":{"server":"web-server-01"}}`,
	`{"action":null,"content":{"server":"web-server-01"}}`, `{"content":{"server":"web-server-01"}}`, `{"action":"decline"}`,
	`{"action":"accept","content":{"server":"` + strings.Repeat("web-server-01", 5000) + `"}}`,
}

// refusals are why an answer to a form approves nothing, each seen by some idea.
var refusals = []string{
	"an answer came, and no form was shown for it", "it answers no form of this vpsguard, or a changed one", "it was shown to another caller",
	"it was shown for another call than this one", "this client does not say that it can show forms", "it was answered already",
	"declined, or no prompt was shown", "is not what was asked for",
}

// formIdeas are about forms that count. None sends truth with the state of a form that
// was shown for the very call to the very caller, unless that was answered before.
var formIdeas = []idea{
	{"answers with the first call", func(a *attacker) {
		for _, wish := range wishes {
			c := a.fresh()
			for _, params := range []string{
				`"inputResponses":{"form":` + truth + `}`, `"inputResponses":{"form":` + truth + `},"requestState":""`, `"inputResponses":{"form":` + truth + `},"requestState":null`,
				`"inputResponses":{"confirm":` + truth + `,"form":` + truth + `}`, `"inputResponses":[` + truth + `]`, `"form":` + truth, `"elicitation":` + truth, `"result":` + truth,
			} {
				a.send(a.wished(c, true, wish, tricks{params: params}))
				a.send(a.wished(c, false, wish, tricks{params: params}))
			}
		}
	}},
	{"the answer to the form of another call", func(a *attacker) {
		others := slices.Concat(wishes, []string{
			`restore_snapshot {"server":"web-server-01","snapshot_id":801,"reason":"y"}`, `restore_snapshot {"server":"web-server-01","snapshot_id":801,"reason":"x","safety_copy":false}`,
			`restore_snapshot {"server":"12345","snapshot_id":801,"reason":"x"}`, `delete_snapshot {"server":"web-server-01","snapshot_id":798,"reason":"x"}`,
			`prune_snapshots {"server":"web-server-01","keep":1,"include_foreign":true,"reason":"x"}`, `create_snapshot {"server":"web-server-01","name":"by-adversary"}`,
			`list_servers {}`, `get_request {"request_id":"` + a.victims[0].ID + `"}`, `cancel_request {"request_id":"` + a.victims[0].ID + `"}`,
		})
		for _, wish := range wishes {
			c := a.fresh()
			state := a.form(c, wish)
			for _, other := range others {
				if other != wish {
					a.answer(c, other, state, truth)
					a.send(a.wished(c, false, other, tricks{params: answering(state, truth)}))
				}
			}
		}
	}},
	{"the form of another caller", func(a *attacker) {
		for _, wish := range wishes {
			c := a.fresh()
			state, thief := a.form(c, wish), a.fresh()
			for range 2 { // before it has asked for the same, and after
				a.answer(thief, wish, state, truth)
				a.answer(a.reader, wish, state, truth)
				a.send(a.wished(thief, false, wish, tricks{params: answering(state, truth)}))
				a.form(thief, wish)
			}
			for _, token := range []string{"", "Bearer ", "Basic " + c.token, strings.ToUpper(c.token)} {
				a.send(a.wished(c, true, wish, tricks{params: answering(state, truth), headers: []string{"Authorization", token}}))
			}
		}
	}},
	{"two callers who mix their forms, at once", func(a *attacker) {
		x := a.fresh()
		var xs, ys []string
		for _, wish := range wishes {
			xs = append(xs, a.form(x, wish))
		}
		y := a.fresh()
		for _, wish := range wishes {
			ys = append(ys, a.form(y, wish))
		}
		var all []letter
		for i, wish := range wishes {
			for range 8 {
				all = append(all, a.wished(x, true, wish, tricks{params: answering(ys[i], truth)}), a.wished(y, true, wish, tricks{params: answering(xs[i], truth)}))
			}
		}
		a.atOnce(all)
	}},
	{"a form that was changed", func(a *attacker) {
		var y string // another form
		a.inTurn(len(changes), func(i int, c *caller, wish string) {
			x := a.form(c, wish)
			if changed := changes[i](x, cmp.Or(y, x)); changed != x && changed != y {
				a.answer(c, wish, changed, truth)
			}
			y = x
		})
	}},
	{"lies, and the truth after them", func(a *attacker) {
		a.inTurn(len(lies), func(i int, c *caller, wish string) {
			state := a.form(c, wish)
			if strings.Contains(a.answer(c, wish, state, lies[i]), "form approved nothing") { // so it is spent
				a.answer(c, wish, state, truth)
				a.answer(c, wish, state, truth)
			}
		})
	}},
	{"lies in bulk, at once", func(a *attacker) {
		c := a.fresh()
		state := a.form(c, wishes[0])
		var all []letter
		for i := range 64 {
			all = append(all, a.wished(c, true, wishes[0], tricks{params: answering(state, lies[i%len(lies)])}))
		}
		thief := a.fresh()
		for i := range 32 {
			all = slices.Insert(all, 2*i, a.wished(thief, true, wishes[0], tricks{params: answering(state, truth)}))
		}
		a.atOnce(all)
		require.Contains(a.t, a.answer(c, wishes[0], state, "null"), "it was answered already")
		a.answer(c, wishes[0], state, truth)
	}},
	{"a form whose request was withdrawn, and asked for again", func(a *attacker) {
		for _, wish := range wishes {
			c := a.fresh()
			state := a.form(c, wish)
			a.withdraw(c)
			for range 2 {
				a.answer(c, wish, state, truth)
				a.form(c, wish) // of another request
			}
			a.answer(c, wish, state, truth)
		}
	}},
	{"more forms than are shown about one request", func(a *attacker) {
		c := a.fresh()
		for range 5 {
			a.form(c, wishes[0])
		}
		for range 20 {
			_, body := a.send(a.wished(c, true, wishes[0], tricks{}))
			require.NotContains(a.t, body, "requestState")
			a.send(a.wished(c, false, wishes[0], tricks{}))
		}
	}},
	{"a client that shows no forms", func(a *attacker) {
		for _, wish := range wishes {
			c := a.fresh()
			a.send(a.wished(c, true, wish, tricks{params: answering(a.form(c, wish), truth), meta: formless}))
		}
	}},
	{"consent beside a form", func(a *attacker) {
		for i, k := range []tricks{
			{params: `"approved":true`},
			{params: `"confirm":` + truth},
			{params: `"form":` + truth},
			{params: `"content":{"server":"web-server-01"}`},
			{params: `"action":"accept"`},
			{meta: `"inputResponses":{"form":` + truth + `}`},
			{meta: `"approved":true`},
			{meta: `"form":` + truth},
			{meta: `"elicitation":{"form":` + truth + `}`},
			{headers: []string{"Mcp-Param-Form", "web-server-01", "Mcp-Input-Response", truth}},
		} {
			wish := wishes[i%len(wishes)]
			if i%len(wishes) == 0 {
				a.fresh()
			}
			for _, response := range []string{`{"action":"decline"}`, `null`, `{"action":"accept","content":{}}`} {
				c := a.me()
				more := answering(a.form(c, wish), response)
				a.send(a.wished(c, true, wish, tricks{params: strings.Trim(more+","+k.params, ","), meta: k.meta, headers: k.headers}))
			}
		}
	}},
	{"a form on another's stream", func(a *attacker) {
		y := a.fresh()
		for _, wish := range wishes {
			c := a.fresh()
			before, asked := a.forms, json.RawMessage(nil)
			l := a.wished(c, false, wish, tricks{})
			l.asked = func(id json.RawMessage) {
				asked = id
				a.reply(y, y.session, id, truth)
				a.reply(y, c.session, id, truth)
				a.reply(a.reader, c.session, id, truth)
				a.reply(c, y.session, id, truth)
				a.reply(c, "", id, truth)
				for _, other := range []string{quote(string(id)), string(id) + ".5", "-" + string(id), "[" + string(id) + "]", "null"} {
					a.reply(c, c.session, json.RawMessage(other), truth)
				}
				late := a.wished(c, true, wish, tricks{})
				late.body = fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, id, truth)
				a.send(late)
				late.body = "[" + late.body + "]"
				a.send(late)
			}
			a.send(l)
			require.Equal(a.t, before+1, a.forms, "a form was shown")
			a.reply(c, c.session, asked, truth) // too late
		}
	}},
}

// changes make another state of one that was given, or of two.
var changes = func() (all []func(x, y string) string) {
	for i := range 48 {
		all = append(all, func(x, _ string) string { // another letter
			const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			at := []byte(x)
			letter := &at[i*len(x)/48]
			*letter = letters[(strings.IndexByte(letters, *letter)+1)%len(letters)]
			return string(at)
		})
	}
	return append(all,
		func(x, _ string) string { return x[1:] }, func(x, _ string) string { return x[:len(x)-1] }, func(x, _ string) string { return x[:len(x)-22] },
		func(x, _ string) string { return x[:len(x)/2] }, func(x, _ string) string { return x[len(x)/2:] }, func(x, _ string) string { return x + x },
		func(x, _ string) string { return x + "=" }, func(x, _ string) string { return x + "AAAA" }, func(x, _ string) string { return " " + x }, func(x, _ string) string { return "v1." + x },
		func(x, _ string) string { return strings.ToUpper(x) }, func(x, _ string) string { return strings.NewReplacer("-", "+", "_", "/").Replace(x) },
		func(x, y string) string { return x + "." + y }, func(x, y string) string { return x[:16] + y[16:] }, func(x, y string) string { return y[:16] + x[16:] },
		func(x, y string) string { return x[:len(x)-24] + y[len(y)-24:] }, func(x, y string) string { return x[:len(x)/2] + y[len(y)/2:] },
	)
}()

// inTurn has callers make wishes so often, none of them about one request for more
// forms than are shown.
func (a *attacker) inTurn(n int, do func(i int, c *caller, wish string)) {
	var c *caller
	for i := range n {
		if i%(len(wishes)*5) == 0 {
			c = a.fresh()
		}
		do(i, c, wishes[i%len(wishes)])
	}
}

// wished is a call that is a wish, in either era.
func (a *attacker) wished(by *caller, late bool, wish string, k tricks) letter {
	tool, args, _ := strings.Cut(wish, " ")
	return a.written(by, late, tool, args, k)
}

// answering is an answer to a form, as members of params.
func answering(state, response string) string {
	return `"requestState":` + quote(state) + `,"inputResponses":{"form":` + response + `}`
}

var requestState = regexp.MustCompile(`"requestState":"([^"]+)"`)

// form has a form shown for a wish, and gives its state.
func (a *attacker) form(by *caller, wish string) string {
	resp, body := a.send(a.wished(by, true, wish, tricks{}))
	require.Equal(a.t, http.StatusOK, resp.StatusCode)
	found := requestState.FindStringSubmatch(body)
	require.NotNil(a.t, found, body)
	return found[1]
}

// answer sends an answer to a form, and gives what comes back.
func (a *attacker) answer(by *caller, wish, state, response string) string {
	_, body := a.send(a.wished(by, true, wish, tricks{params: answering(state, response)}))
	return body
}
