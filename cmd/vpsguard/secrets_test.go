package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// Secrets whose escaped forms are others than they are.
const (
	secretToken  = `vps_S3cr3t/+"&<=%41'toKEN`
	secretBot    = "xoxb-9876543210-bOtS3cr3t/+&"
	secretApp    = "xapp-1-A0S3CRET-aPpS3cr3t/+&"
	secretPhrase = `a "phrase" & that <nobody> knows`
	secretKey    = "c0ffee5ea15ec2e7c0ffee5ea15ec2e7c0ffee5ea15ec2e7c0ffee5ea15ec2e7"
	secretPasswd = `dAt4b4se/+"&<=%41'@:P4ssw0rd`
)

var responseURL = regexp.MustCompile(`/response/[^"\\]+`)

// disguises are the forms in which a secret may be told without being seen at once.
func disguises(secret string) map[string]string {
	quoted, _ := json.Marshal(secret) //nolint:errchkjson // a text
	out := map[string]string{
		"as it is": secret, "in a query": url.QueryEscape(secret), "in a path": url.PathEscape(secret), "in JSON": strings.Trim(string(quoted), `"`),
		"in a URL before the host": strings.TrimPrefix(url.UserPassword("", secret).String(), ":"), "in %-codes": percent(secret),
		"quoted": strings.Trim(strconv.Quote(secret), `"`), "in HTML": html.EscapeString(secret), "in hex": hex.EncodeToString([]byte(secret)),
	}
	for name, alphabet := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
		for before := range 3 { // whatever stands before it, these letters stay
			all := alphabet.EncodeToString([]byte(strings.Repeat("x", before) + secret + "xx"))
			out[fmt.Sprintf("in %s after %d", name, before)] = all[4 : len(all)/4*4-4]
		}
	}
	return out
}

// percent is a text with a code for each byte.
func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		_, _ = fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

// noneIn looks for each secret, in all disguises, in all that was told.
func noneIn(t *testing.T, secrets, told map[string]string) {
	t.Helper()
	for what, secret := range secrets {
		for how, form := range disguises(secret) {
			for where, text := range told {
				if i := strings.Index(text, form); i >= 0 {
					t.Errorf("%s is in %s, %s: %q", what, where, how, text[max(0, i-200):min(len(text), i+len(form)+40)])
				}
			}
		}
	}
}

// TestTheDisguisesAreFound tells a secret in each form, or the tests below say nothing.
func TestTheDisguisesAreFound(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"", "x", "Bearer ", "ops:"} {
		for _, text := range []string{
			base64.StdEncoding.EncodeToString([]byte(before + secretToken)), base64.URLEncoding.EncodeToString([]byte(before + secretToken + "\n")),
			before + url.QueryEscape(secretToken), fmt.Sprintf("%q", before+secretToken), hex.EncodeToString([]byte(before + secretToken)),
		} {
			found := false
			for _, form := range disguises(secretToken) {
				found = found || strings.Contains(text, form)
			}
			assert.True(t, found, text)
		}
	}
}

// echoing stands before a VPS.org and repeats the token in headers that clients look at.
func echoing(t *testing.T, fake http.Handler) string {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Retry-After", "Location", "Date", "Content-Type-Of-Yours", "Www-Authenticate", "Set-Cookie"} {
			w.Header().Set(name, r.Header.Get("Authorization"))
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)
	return api.URL + vpsfake.BasePath
}

// TestNoSecretIsTold has everything go wrong that can, with everything logged, and
// looks for what must never be told in all that comes out of the program.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	onSQLite := func(*testing.T, *world) {}
	for name, c := range map[string]struct {
		format string
		use    func(*testing.T, *world)
	}{
		"text": {"text", onSQLite}, "json": {"json", onSQLite}, "on PostgreSQL": {"text", withPassword},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			noSecretIsTold(t, c.format, c.use)
		})
	}
}

//nolint:funlen // one story
func noSecretIsTold(t *testing.T, format string, use func(*testing.T, *world)) {
	o := fast()
	o.Token = secretToken
	w := newWorld(t, o)
	use(t, w)
	f := w.withSlack(t, slackfake.Options{Limits: slackfake.NoLimits(), BotToken: secretBot, AppToken: secretApp})
	w.env = append(w.env, "VPSGUARD_API_URL="+echoing(t, w.fake), "VPSGUARD_SLACK_SIGNING_SECRET="+testSecret,
		"VPSGUARD_CONFIRM=slack,terminal,elicitation", "VPSGUARD_STATE_KEY="+secretKey, "VPSGUARD_LOG_LEVEL=debug", "VPSGUARD_LOG_FORMAT="+format)
	cmd, log := spawn(t, append(w.env, "VPSGUARD_METRICS_ADDR=127.0.0.1:0"), "serve")
	here := strings.TrimSuffix(regexp.MustCompile(`http://[0-9.:]+/mcp`).FindString(log.await(t, "serving MCP")), "/mcp")
	require.NoError(t, f.AwaitSockets(t.Context(), 2))
	ada, grace := f.User(slackfake.Ada), f.User(slackfake.Grace)
	id, card := asksFor(t, f, log)
	operate, revoked := newToken(t, w.env, "secret-agent", "--role", "operate"), newToken(t, w.env, "gone")
	_, _, code := vpsguard(t, w.env, "token", "revoke", "gone")
	require.Zero(t, code)
	agent := come(t, here, operate)
	service, _ := w.service(t)
	require.NoError(t, service.SetPassphrase(t.Context(), atTerminal(), "", secretPhrase))
	var atMCP, atHTTP, atDesk strings.Builder

	// Every fault meets every kind of call.
	everyKind := func() {
		var all []*slackfake.Delivery
		for _, text := range []string{
			"help", "server list", "snapshot restore", "snapshot list no-such-server", "request list", "request show rq_7f3k9c",
			"snapshot create web-server-01 with-" + fmt.Sprint(time.Now().UnixNano()), "nonsense", "backup delete web-server-01 501 because " + f.BotToken()[:6],
		} {
			all = append(all, ada.Slash(slackfake.Ops, "/vps", text))
		}
		all = append(all, ada.Mention(slackfake.Ops, "", "server list"), grace.Press(card, "Approve"), grace.Press(card, "Deny"), ada.Press(card, "Cancel"))
		for _, name := range []string{"list_servers", "list_snapshots", "create_snapshot", "restore_snapshot", "get_request", "list_requests"} {
			for _, args := range []map[string]any{{}, {"server": "web-server-01", "snapshot_id": 801, "name": "x", "reason": "x", "request_id": id}} {
				text, out := tool(t, agent, name, args)
				_, _ = fmt.Fprintln(&atMCP, text, out)
			}
		}
		for _, wrong := range []string{revoked, operate[:40], secretToken} {
			atHTTP.WriteString(post(t, here+"/mcp", wrong, request(1, "list_servers", nil)).body)
		}
		atHTTP.WriteString(post(t, here+"/mcp?access_token="+url.QueryEscape(operate), "", request(1, "list_servers", nil)).body)
		for _, path := range []string{here + "/readyz", metricsURL.FindString(log.String())} {
			_, body := get(t, path)
			atHTTP.WriteString(body)
		}
		for _, d := range all {
			d.Wait()
		}
	}
	desk := func(args ...string) string {
		out, said, _ := vpsguard(t, w.env, args...)
		atDesk.WriteString(out + said)
		return out
	}
	everyKind()
	for _, fault := range []slackfake.Fault{
		{Name: slackfake.Error500},
		{Name: slackfake.HTML},
		{Name: slackfake.CutJSON},
		{Name: slackfake.Reset},
		{Name: slackfake.Refused, Code: "invalid_blocks"},
		{Name: slackfake.Refused, Code: "token_revoked"},
		{Name: slackfake.Error500, Method: "response_url"},
	} {
		f.Inject(fault)
		everyKind()
		f.Heal()
	}
	for _, fault := range []vpsfake.Fault{
		{Name: vpsfake.EchoToken},
		{Name: vpsfake.EchoToken, Status: http.StatusInternalServerError}, // which is logged
		{Name: vpsfake.HugeError},
		{Name: vpsfake.HTML},
		{Name: vpsfake.Unauthorized},
		{Name: vpsfake.Redirected},
		{Name: vpsfake.RateLimited},
	} {
		w.fake.Inject(fault)
		everyKind()
		desk("requests", "deny", id)
		desk("requests", "list")
		desk("doctor")
		desk("token", "list")
		atDesk.WriteString(overStdin(t, w.env))
		w.fake.Heal()
	}
	// Decisions at the terminal, with the phrase half right and right.
	for _, phrase := range []string{secretPhrase[:20], secretPhrase} {
		held := hold(t, service, "a phrase is typed")
		st, err := service.Show(t.Context(), held)
		require.NoError(t, err)
		_, err = service.Decide(t.Context(), held, policy.Verdict{
			By: atTerminal(), Way: policy.WayTerminal, Digest: st.Request.Plan.Digest, Typed: st.Request.Plan.Server.Typed(), Secret: phrase,
		})
		atDesk.WriteString(fmt.Sprint(err))
	}
	f.RevokeAppToken("invalid_auth")
	for _, s := range f.Sockets() {
		s.Drop()
	}
	log.await(t, "no connection to Slack")
	deliverTo(t, f, log)
	everyKind()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, slackURL.FindString(log.String())+"commands", strings.NewReader("command=%2Fvps&text=help&token="+f.BotToken()))
	require.NoError(t, err)
	req.Header = slackfake.Sign("ffffffffffffffffffffffffffffffff", time.Now(), []byte("other"))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_ = res.Body.Close()
	assert.Equal(t, http.StatusUnauthorized, res.StatusCode)
	desk("doctor")
	desk("requests", "show", id, "--output", "json")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	_ = ended(cmd)
	audit := desk("audit", "list", "--output", "json") + desk("audit", "export")

	secrets := map[string]string{
		"the bot token": secretBot, "the app token": secretApp, "the signing secret": testSecret, "the API token": secretToken,
		"the passphrase": secretPhrase, "a bearer token": operate, "a bearer token that was revoked": revoked,
		"the key of forms": secretKey, "the database's password": secretPasswd,
	}
	told := map[string]string{
		"the log": log.String(), "what MCP answers": atMCP.String(), "what /readyz and /metrics answer": atHTTP.String(),
		"what commands print": atDesk.String(), "the audit": audit, "what people see": everything(f),
	}
	sent, err := json.Marshal(f.Calls(""))
	require.NoError(t, err)
	told["what is sent to Slack"] = string(sent)
	files, err := filepath.Glob(w.path + "*")
	require.NoError(t, err)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		told[filepath.Base(file)] = string(raw)
	}
	noneIn(t, secrets, told)
	// These are no use in a disguise, and there are many.
	n := 0
	for _, d := range f.Deliveries() {
		if u := responseURL.FindString(string(d.Payload())); u != "" {
			n++
			for where, text := range told {
				assert.NotContains(t, text, u, where)
			}
		}
	}
	// All of it was there to be told.
	require.Greater(t, n, 100, "response URLs")
	stored := told["ledger.db"] + told["ledger.db-wal"]
	if len(files) == 0 { // PostgreSQL's own files are not looked at
		stored = audit
	}
	assert.Contains(t, stored, "request.held")
	assert.Contains(t, told["what MCP answers"], "[token]")
	assert.Contains(t, told["what commands print"], "[token]")
	assert.Contains(t, told["the log"], "[token]")
	assert.Contains(t, told["what /readyz and /metrics answer"], "vpsguard_api_requests_total{")
	assert.Contains(t, told["what commands print"], "passphrase", "one was refused")
	if format == "json" {
		for line := range strings.Lines(log.String()) {
			assert.True(t, json.Valid([]byte(line)), line)
		}
	}
}

// overStdin drives a process as a client that starts it does, and gives all that it
// prints.
func overStdin(t *testing.T, env []string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "vpsguard", "stdio")
	cmd.Env = env
	cmd.Stdin = strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_servers","arguments":{}}}
{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"restore_snapshot","arguments":{"server":"web-server-01","snapshot_id":801,"reason":"x"}}}
`)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	assert.Contains(t, string(out), `"id":3`)
	return string(out)
}

// TestASecretInTheWrongPlaceIsNotRepeated gives each variable each secret.
func TestASecretInTheWrongPlaceIsNotRepeated(t *testing.T) {
	t.Parallel()
	secrets := map[string]string{
		"the bot token": secretBot, "the app token": secretApp, "the signing secret": testSecret, "the API token": secretToken,
		"the database's password": secretPasswd, "the key of forms": secretKey,
	}
	told := map[string]string{}
	for _, v := range variables() {
		for what, secret := range secrets {
			for _, value := range []string{secret, "postgres://ops:" + url.QueryEscape(secret) + "@db.example/x", "sqlite:/nowhere/" + secret + "\x00", "https://ops:" + url.QueryEscape(secret) + "@example.com/"} {
				if v.Secret && v.Name != "VPSGUARD_API_URL" && value == secret && (strings.Contains(v.Name, "TOKEN") || strings.Contains(v.Name, "KEY")) {
					continue // where it may belong
				}
				for _, name := range []string{v.Name, v.Name + "_FILE"} {
					if strings.HasSuffix(name, "_FILE") && !v.Secret && v.Name != "VPSGUARD_POLICY_FILE" {
						continue
					}
					out, said, _ := vpsguard(t, append(bare(t), name+"="+value), "doctor")
					told[name+" as "+what] += out + said
				}
			}
		}
	}
	// A path is shown: that is how people find their mistake. It is theirs to keep
	// secrets out of it.
	for name := range told {
		if strings.HasPrefix(name, "VPSGUARD_DATABASE as") {
			told[name] = regexp.MustCompile(`there is no ledger at [^\n]*`).ReplaceAllString(told[name], "")
		}
	}
	noneIn(t, secrets, told)
}

// TestAPanicTellsNoSecret has the rules panic with everything in hand that holds one.
func TestAPanicTellsNoSecret(t *testing.T) {
	t.Parallel()
	o := fast()
	o.Token = secretToken
	w := newWorld(t, o)
	f := w.withSlack(t, slackfake.Options{BotToken: secretBot, AppToken: secretApp})
	log := &lines{}
	p := &program{Args: []string{"vpsguard"}, Env: append(w.env, "VPSGUARD_LOG_LEVEL=debug"), Stdout: log, Stderr: log, Now: time.Now}
	s, err := load(t.Context(), p.Env)
	require.NoError(t, err)
	st, err := p.station(t.Context(), s, "", overLoopback)
	require.NoError(t, err)
	defer st.Close(t.Context())
	shown := fmt.Sprintf("%v %+v %#v %+v %+v %+v", s, s, s, st.account.client, st.log, st.service.Catalogue())
	assert.Contains(t, shown, "[set]", "the settings can be shown")
	var angry atomic.Bool
	st.service.Judge = func(context.Context, policy.Facts) (policy.Conditions, error) {
		if angry.Load() {
			panic(shown + secretBot + secretApp + secretToken)
		}
		return policy.Conditions{}, nil
	}
	web := httptest.NewServer(st.routes())
	defer web.Close()
	require.NoError(t, f.AwaitSockets(t.Context(), 2))
	agent, err := client.NewStreamableHttpClient(web.URL + "/mcp")
	require.NoError(t, err)
	greet(t, agent)
	service, _ := w.service(t)
	withPassphrase(t, service)
	id := hold(t, service, "its start panics")
	angry.Store(true)
	approve(t, service, id)
	text, out := tool(t, agent, "restore_snapshot", map[string]any{"server": "web-server-01", "snapshot_id": 801, "reason": "x"})
	assert.Contains(t, text, "something went wrong inside vpsguard")
	f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "snapshot restore web-server-01 801 because x").Wait()
	for _, said := range []string{"a call panicked", "a task panicked", "advancing a request panicked"} {
		log.await(t, said)
	}
	assert.Contains(t, log.String(), "secrets_test.go", "it was told where")
	sent, err := json.Marshal(f.Calls(""))
	require.NoError(t, err)
	angry.Store(false)
	noneIn(t, map[string]string{"the bot token": secretBot, "the app token": secretApp, "the API token": secretToken}, map[string]string{
		"settings": shown, "the log": log.String(), "what MCP answers": fmt.Sprint(text, out), "what is sent to Slack": string(sent), "what people see": everything(f),
	})
}
