package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// testSecret signs what comes over HTTP.
const testSecret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"

// withSlack gives a world a Slack, and the settings for Socket Mode with it. Grace
// approves.
func (w *world) withSlack(t testing.TB, o slackfake.Options) *slackfake.Fake {
	t.Helper()
	if o.Now == nil {
		o.Now = time.Now
	}
	f := slackfake.New(o)
	web := httptest.NewServer(f)
	f.SetURL(web.URL)
	t.Cleanup(func() { f.Close(); web.Close() })
	w.env = append(w.env, "VPSGUARD_SLACK_BOT_TOKEN="+f.BotToken(), "VPSGUARD_SLACK_APP_TOKEN="+f.AppToken(),
		"VPSGUARD_SLACK_API_URL="+web.URL+"/api/", "VPSGUARD_SLACK_CHANNEL="+slackfake.Ops, "VPSGUARD_SLACK_APPROVERS="+slackfake.Grace)
	return f
}

// overHTTP makes the settings those for signed HTTP instead of Socket Mode.
func (w *world) overHTTP() {
	w.env = slices.DeleteFunc(w.env, func(v string) bool { return strings.HasPrefix(v, "VPSGUARD_SLACK_APP_TOKEN=") })
	w.env = append(w.env, "VPSGUARD_SLACK_SIGNING_SECRET="+testSecret)
}

var slackURL = regexp.MustCompile(`http://[^ "]*/slack/`)

// deliverTo has a Slack deliver to a process that serves signed HTTP, once it does.
func deliverTo(t testing.TB, f *slackfake.Fake, log *lines) {
	t.Helper()
	url := slackURL.FindString(log.await(t, "serving Slack"))
	require.NotEmpty(t, url)
	f.SetReceiver(&slackfake.Receiver{
		Commands: url + "commands", Interactions: url + "interactions", Events: url + "events", Options: url + "options", Secret: testSecret,
	})
	require.NoError(t, f.VerifyURL(t.Context()))
}

// watch looks at a Slack until something is so, and shows all of it if it never is.
func watch(t testing.TB, f *slackfake.Fake, log *lines, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if f.Await(ctx, ok) != nil {
		t.Fatalf("%s: this is what there was:\n%s\n%v\n%s", what, everything(f), f.Violations(), log)
	}
}

// everything is what people see in Slack, to the last line.
func everything(f *slackfake.Fake) string {
	var b strings.Builder
	for _, m := range f.Messages(slackfake.Ops) {
		b.WriteString("--- in the channel\n" + m.String() + "\n")
		for _, r := range f.Thread(slackfake.Ops, m.TS)[1:] {
			b.WriteString("  --- below it\n" + r.String() + "\n")
		}
	}
	for _, u := range []string{slackfake.Ada, slackfake.Grace, slackfake.Edsger} {
		for _, m := range f.Ephemerals(u) {
			b.WriteString("--- only for " + u + "\n" + m.String() + "\n")
		}
		for _, v := range f.Views(u) {
			b.WriteString("--- a form of " + u + "\n" + v.String() + "\n")
		}
	}
	return b.String()
}

// cards are the messages about a request in the channel where people decide.
func cards(f *slackfake.Fake, id string) []slackfake.Message {
	return slices.DeleteFunc(f.Messages(slackfake.Ops), func(m slackfake.Message) bool {
		return m.From != slackfake.Bot || !strings.Contains(m.String(), id)
	})
}

// says are the captions of what can be pressed.
func says(on slackfake.Surface) []string {
	out := []string{}
	for _, b := range on.Buttons() {
		out = append(out, b.Text)
	}
	return out
}

var requestID = regexp.MustCompile(`rq_[a-z0-9]{6}`)

// typed is what fills the form to approve.
func typed(name string) slackfake.Values { return slackfake.Values{"typed": {"typed": name}} }

// opens presses Approve… and gives the form.
func opens(t testing.TB, f *slackfake.Fake, log *lines, who slackfake.Person, card slackfake.Message) slackfake.View {
	t.Helper()
	require.True(t, who.Press(card, "Approve").Wait().Acked)
	watch(t, f, log, "the form opens", func() bool { _, ok := f.View(who.ID()); return ok })
	v, _ := f.View(who.ID())
	return v
}

// asksFor has Ada ask for a restore, and waits until its card can be decided on.
func asksFor(t testing.TB, f *slackfake.Fake, log *lines) (id string, card slackfake.Message) {
	t.Helper()
	out := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "snapshot restore web-server-01 801 because the upgrade broke login").Wait()
	require.True(t, out.Acked, out)
	watch(t, f, log, "the card is there", func() bool {
		all := f.Messages(slackfake.Ops)
		return len(all) == 1 && len(all[0].Buttons()) > 0
	})
	card = f.Messages(slackfake.Ops)[0]
	return requestID.FindString(card.String()), card
}

// TestARestoreInSlack is the whole story through a real process, by either way in
// which Slack delivers.
func TestARestoreInSlack(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"Socket Mode", "signed HTTP"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fast())
			f := w.withSlack(t, slackfake.Options{})
			if way == "signed HTTP" {
				w.overHTTP()
			}
			_, log := spawn(t, w.env, "serve")
			if way == "signed HTTP" {
				deliverTo(t, f, log)
			} else {
				log.await(t, "serving MCP")
				require.NoError(t, f.AwaitSockets(t.Context(), 2))
			}
			grace := f.User(slackfake.Grace)
			id, card := asksFor(t, f, log)
			assert.Contains(t, card.Text, "APPROVAL NEEDED")
			assert.Equal(t, []string{"Approve…", "Deny…", "Cancel"}, says(card))

			form := opens(t, f, log, grace, card)
			assert.Contains(t, form.String(), "web-server-01")
			out := grace.Submit(form, typed("web-server-02")).Wait()
			assert.Contains(t, out.Errors["typed"], "nothing was approved")
			assert.Zero(t, w.fake.Sent("overwrite"), "another server's name approves nothing")
			out = grace.Submit(form, typed("web-server-01")).Wait()
			require.True(t, out.Acked)
			assert.Empty(t, out.Errors)
			watch(t, f, log, "it is done", func() bool {
				card = f.Message(slackfake.Ops, card.TS)
				return strings.Contains(card.Text, "DONE") && len(f.Thread(slackfake.Ops, card.TS)) == 2
			})
			assert.Equal(t, []string{"Undo (restore the safety copy)"}, says(card))
			assert.Contains(t, f.Thread(slackfake.Ops, card.TS)[1].Text, "DONE", "its thread says how it ended")
			assert.Equal(t, "snapshot:801", w.fake.ServerData(12345))

			require.True(t, grace.Press(card, "Undo").Wait().Acked)
			watch(t, f, log, "an undo is a new request", func() bool {
				all := f.Messages(slackfake.Ops)
				return len(all) == 2 && len(all[1].Buttons()) > 0
			})
			undo := f.Messages(slackfake.Ops)[1]
			assert.Contains(t, undo.Text, "APPROVAL NEEDED")
			assert.Contains(t, undo.String(), "undo of "+id)

			assert.Equal(t, 1, w.fake.Sent("create"))
			assert.Equal(t, 1, w.fake.Sent("overwrite"))
			assert.Empty(t, f.Violations())
			said, wrong, code := vpsguard(t, w.env, "audit", "verify")
			assert.Equal(t, 0, code, said+wrong)
			_, l := w.service(t)
			records, err := l.Records(t.Context(), 1, 0)
			require.NoError(t, err)
			for _, r := range records {
				if b, err := r.Parse(); err == nil && b.Event == "request.approved" {
					assert.Equal(t, "T0HOME", b.Detail["proof_team"])
					assert.Equal(t, slackfake.Grace, b.Detail["proof_user"])
					assert.Equal(t, slackfake.Ops, b.Detail["proof_channel"])
					assert.Equal(t, card.TS, b.Detail["proof_message_ts"])
					assert.Equal(t, form.ID, b.Detail["proof_view"])
					assert.Equal(t, b.Digest, b.Detail["proof_plan"])
					assert.NotEmpty(t, b.Detail["proof_action"])
				}
			}
		})
	}
}

// TestStdioShowsItsCardsInSlack has an assistant's own process ask, and a person in
// Slack approve.
func TestStdioShowsItsCardsInSlack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	f := w.withSlack(t, slackfake.Options{})
	cmd := exec.CommandContext(t.Context(), "vpsguard", "stdio")
	log := &lines{}
	cmd.Env, cmd.Stderr = w.env, log
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	frames := bufio.NewReader(out)
	ask := func(frame string) string {
		_, err := io.WriteString(in, frame+"\n")
		require.NoError(t, err)
		line, err := frames.ReadString('\n')
		require.NoError(t, err)
		require.True(t, json.Valid([]byte(line)), line)
		return line
	}
	ask(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"claude-code","version":"1"}}}`)
	held := ask(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"restore_snapshot","arguments":{"server":"web-server-01","snapshot_id":801,"reason":"roll back"}}}`)
	id := requestID.FindString(held)
	require.NotEmpty(t, id, held)
	watch(t, f, log, "its card is there", func() bool { all := cards(f, id); return len(all) == 1 && len(all[0].Buttons()) == 3 })
	card := cards(f, id)[0]
	assert.Contains(t, card.String(), "claude-code")
	grace := f.User(slackfake.Grace)
	form := opens(t, f, log, grace, card)
	require.Empty(t, grace.Submit(form, typed("web-server-01")).Wait().Errors)
	watch(t, f, log, "it is done", func() bool { return strings.Contains(f.Message(slackfake.Ops, card.TS).Text, "DONE") })
	assert.Contains(t, ask(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"get_request","arguments":{"request_id":"`+id+`"}}}`), `"state":"done"`)
	assert.Empty(t, f.Violations())
	require.NoError(t, in.Close())
	require.NoError(t, ended(cmd))
}

// TestReadyTellsStrangersNothing: beyond this host, or through a proxy, nobody is
// told what is wrong.
func TestReadyTellsStrangersNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	w.fake.Inject(vpsfake.Fault{Name: vpsfake.Unauthorized, PathPrefix: "/account/me/"})
	url, _, _ := serving(t, append(w.env, "VPSGUARD_PUBLIC_URL=https://vpsguard.example.com"), "serve")
	for host, told := range map[string]bool{"localhost": true, "127.0.0.1:8080": true, "vpsguard.example.com": false} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/readyz", nil)
		require.NoError(t, err)
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, host)
		assert.Equal(t, told, strings.Contains(string(raw), "parts"), "%s: %s", host, raw)
	}
}
