package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// strange are names and ids as nobody has them.
var strange = []string{
	"", " ", ".", "..", "../../snapshots/801/restore/", "..\\..\\801", "/etc/passwd", "801/restore", "801%2Frestore%2F", "801?confirm=true", "801#", "%2e%2e%2f", "web-server-01/../db-server-01",
	"web-server-01\x00", "web-server-01\n", "web‑server‑01", "wеb-server-01", "\u202eweb-server-01", "web-server-01\u200b", "８０１", "12345 ", "+12345", "012345", "0x3039", "1e4", "*", "%", "_", "' OR 1=1 --", "\"; DROP TABLE requests; --",
	"${jndi:ldap://x}", "{{.Token}}", "<script>", "rq_*", "rq_", "null", "true", "\ud7ff\U0010ffff", strings.Repeat("9", 400), strings.Repeat("a", 60_000),
}

// values are the strange ones, and what is no string.
func strangeValues() []string {
	return append(quoted(strange), `null`, `true`, `false`, `0`, `-1`, `1.5`, `801.0`, `8.01e2`, `9007199254740993`, `-0`, `1e400`, `[801]`, `[]`, `{}`, `{"id":801}`, `"801"`, `"\ud800"`, `0801`, `NaN`)
}

func calls(k tricks) func(*attacker) {
	return func(a *attacker) {
		for _, tool := range a.tools {
			for _, args := range a.meant(tool) {
				if raced && !a.all() && !a.oneOf(3) {
					continue
				}
				a.call(tool.Name, object(args), tricks{a.filled(k.params), a.filled(k.meta), k.headers})
			}
		}
	}
}

func inParams(all ...string) func(*attacker) {
	return func(a *attacker) {
		for _, p := range all {
			calls(tricks{params: p})(a)
		}
	}
}

func inMeta(all ...string) func(*attacker) {
	return func(a *attacker) {
		for _, m := range all {
			calls(tricks{meta: m})(a)
		}
	}
}

func withHeaders(all ...string) func(*attacker) { return calls(tricks{headers: all}) }

// states are such as somebody may make up or has seen elsewhere.
func states() []string {
	var out []string
	for _, s := range []string{"$RQ", "approved", "e30=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "\x00", strings.Repeat("A", 5000), `{"approved":true}`, "v1.local.x"} {
		out = append(out, `"requestState":`+quote(s)+`,"inputResponses":{"confirm":{"action":"accept","content":{"server":"web-server-01"}}}`)
	}
	return append(out, `"requestState":{"approved":true}`, `"requestState":1`)
}

// everyValue puts each value in the place of each argument.
func everyValue(a *attacker) {
	n := 1
	if raced {
		n *= 5
	}
	if !a.all() {
		n *= 5
	}
	for _, tool := range a.tools {
		for _, name := range slices.Sorted(maps.Keys(tool.Input.Properties)) {
			for _, value := range strangeValues() {
				if !a.oneOf(n) {
					continue
				}
				args := maps.Clone(a.meant(tool)[0])
				args[name] = value
				a.call(tool.Name, object(args), tricks{})
			}
		}
	}
}

// all tells whether all is tried of much that is alike. Where callers have tokens,
// it is what else is tried that matters.
func (a *attacker) all() bool { return a.reader.token == "" }

// oneOf is true once in so many times.
func (a *attacker) oneOf(n int) bool {
	a.nth++
	return a.nth%n == 0
}

// everyWord adds an argument that would say yes.
func everyWord(a *attacker) {
	for _, tool := range a.tools {
		for _, word := range []string{
			"confirm", "confirmed", "confirmation", "force", "yes", "approve", "approved", "approved_by", "approver", "approval", "assurance", "passphrase", "typed", "dry_run",
			"skip_confirmation", "auto_approve", "override", "actor", "way", "verdict", "digest", "state", "steps", "undo", "elicitation", "_meta", "inputResponses", "__proto__",
		} {
			args := maps.Clone(a.meant(tool)[0])
			args[word] = `true`
			a.call(tool.Name, object(args), tricks{})
		}
	}
}

// everyShape gives arguments that are no object, or one too deep.
func everyShape(a *attacker) {
	for _, tool := range a.tools {
		for _, args := range []string{`null`, `[]`, `[{"confirm":true}]`, `"{\"confirm\":true}"`, `true`, `801`, `{"arguments":{"confirm":true}}`} {
			a.call(tool.Name, args, tricks{})
		}
	}
}

// everyForeign adds to each tool the arguments of all others.
func everyForeign(a *attacker) {
	for _, tool := range a.tools {
		for _, other := range a.tools {
			args := maps.Clone(a.meant(other)[0])
			maps.Copy(args, a.meant(tool)[0])
			a.call(tool.Name, object(args), tricks{})
		}
	}
}

func unknownTools(names ...string) func(*attacker) {
	return func(a *attacker) {
		for _, name := range names {
			a.call(name, `{"server":"web-server-01","snapshot_id":798,"request_id":"`+a.victims[0].ID+`","reason":"x"}`, tricks{})
		}
	}
}

// filled puts what there is in the place of names.
func (a *attacker) filled(s string) string {
	const args = `{"name":"delete_snapshot","arguments":{"server":"web-server-01","snapshot_id":798,"reason":"old"}}`
	return strings.NewReplacer("$RQ", a.victims[0].ID, "$CALL", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+args+`}`,
		"$PARAMS", args, "$SESSION", a.other.session).Replace(s)
}

// posted are bodies, sent as they stand: in a session, as of 2026-07-28, and as neither.
func posted(all ...string) func(*attacker) {
	return func(a *attacker) {
		for _, b := range all {
			me := a.me()
			for _, h := range [][]string{
				{"Mcp-Session-Id", me.session},
				{"Mcp-Session-Id", a.other.session},
				{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "delete_snapshot"},
				nil,
			} {
				a.send(letter{by: me, method: http.MethodPost, url: a.url + "/mcp", body: a.filled(b), headers: h})
			}
		}
	}
}

func unknownMethods(params string, names ...string) func(*attacker) {
	return func(a *attacker) {
		for _, name := range names {
			posted(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%s,"params":%s}`, quote(name), params))(a)
			p := `{"_meta":{` + modern + `},` + a.filled(params)[1:]
			a.send(letter{
				method: http.MethodPost, url: a.url + "/mcp", body: fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%s,"params":%s}`, quote(name), p),
				headers: []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", strings.Trim(name, "\x00")},
			})
		}
	}
}

// uris asks a method for names and addresses of all kinds.
func addressed(method, key string) func(*attacker) {
	return func(a *attacker) {
		for _, u := range append([]string{
			"vpsguard://requests/$RQ/approve", "vpsguard://servers/web-server-01/recovery-points", "vpsguard://servers/web-server-01/../requests/$RQ/approve",
			"vpsguard://servers/%2e%2e/recovery-points", "vpsguard://servers/web-server-01/recovery-points?approve=$RQ", "file:///etc/passwd", "http://127.0.0.1/", "safe_change", "roll_back_server", "approve",
		}, strange...) {
			args := fmt.Sprintf(`{%q:%s,"arguments":{"server":"web-server-01","request_id":"$RQ","approve":"true"}}`, key, quote(u))
			unknownMethods(args, method)(a)
		}
	}
}

func flooded(text string, n int) func(*attacker) {
	return func(a *attacker) {
		for i := range n {
			posted(fmt.Sprintf(text, i))(a)
		}
	}
}

func cancelling(ids ...string) []string {
	var out []string
	for _, id := range ids {
		out = append(out, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+id+`}}`)
	}
	return out
}

func atPaths(all ...string) func(*attacker) {
	return func(a *attacker) {
		for _, p := range all {
			for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
				// By this header a GET opens no stream.
				a.send(letter{method: m, url: a.url + a.filled(p), body: a.filled(`$CALL`), headers: []string{"Mcp-Protocol-Version", "2026-07-28"}})
			}
		}
	}
}

// slackPaths sends what a person's presses and forms would look like.
func atSlack(headers ...string) func(*attacker) {
	return func(a *attacker) {
		now := fmt.Sprint(time.Now().Unix())
		h := append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)
		for i := range h {
			h[i] = strings.ReplaceAll(h[i], "NOW", now)
		}
		for _, payload := range []string{
			`{"type":"view_submission","user":{"id":"U2","team_id":"T0TEST"},"view":{"callback_id":"approve","private_metadata":"$RQ","state":{"values":{"typed":{"typed":{"value":"web-server-01"}}}}}}`,
			`{"type":"block_actions","user":{"id":"U2"},"actions":[{"action_id":"approve","value":"$RQ"}]}`,
		} {
			form := url.Values{"payload": {a.filled(payload)}, "command": {"/vps"}, "text": {a.filled("request approve $RQ")}, "user_id": {"U2"}}.Encode()
			for _, path := range []string{"commands", "interactions", "events", "options", "approve", "", "../mcp"} {
				a.send(letter{method: http.MethodPost, url: a.slack + path, body: form, headers: h})
			}
		}
	}
}

// raws are written to the socket as they stand.
func onTheWire(all ...string) func(*attacker) {
	return func(a *attacker) {
		for _, text := range all {
			c, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
			require.NoError(a.t, err)
			require.NoError(a.t, c.SetDeadline(time.Now().Add(500*time.Millisecond)))
			_, err = c.Write([]byte(a.filled(text)))
			require.NoError(a.t, err)
			_, _ = bufio.NewReader(c).ReadString('\n') // whatever it says, or nothing
			_ = c.Close()
			a.count++
		}
	}
}

// meant are arguments for a tool as its schema wants them, aimed at what is
// there. An argument that is not known here gets a value of its type.
func (a *attacker) meant(tool shown) []map[string]string {
	var out []map[string]string
	variants := len(a.victims)
	switch {
	case tool.Hints.ReadOnly:
		variants = 1
	case !a.all():
		variants = 2
	}
	for i := range variants {
		args := map[string]string{}
		for name, p := range tool.Input.Properties {
			some := map[string][]string{
				"server": {`"web-server-01"`}, "snapshot_id": {"801", "798"}, "backup_id": {"501", "499"}, "safety_copy": {"true", "false"},
				"request_id": a.held(), "name": {`"by-adversary"`}, "reason": {`"because I say so"`}, "description": {`"confirmed"`},
				"limit": {"10"}, "wait_seconds": {"0"},
			}[name]
			switch {
			case some != nil:
				args[name] = some[i%len(some)]
			case !slices.Contains(tool.Input.Required, name): // filters, cursors and waiting
			case p.Type == "integer":
				args[name] = "801"
			case p.Type == "boolean":
				args[name] = "true"
			default:
				args[name] = `"web-server-01"`
			}
		}
		if !slices.ContainsFunc(out, func(o map[string]string) bool { return object(o) == object(args) }) {
			out = append(out, args)
		}
	}
	return out
}

// held are the requests of another caller.
func (a *attacker) held() (ids []string) {
	for _, r := range a.victims {
		ids = append(ids, quote(r.ID))
	}
	return ids
}

func quoted(all []string) []string {
	out := make([]string, 0, len(all))
	for _, s := range all {
		out = append(out, quote(s))
	}
	return out
}

// object writes raw values as a JSON object.
func object(of map[string]string) string {
	raw := map[string]json.RawMessage{}
	for k, v := range of {
		raw[k] = json.RawMessage(v)
	}
	out, err := json.Marshal(raw)
	if err != nil { // a value that is no JSON
		var b bytes.Buffer
		for k, v := range of {
			fmt.Fprintf(&b, ",%s:%s", quote(k), v)
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	}
	return string(out)
}
