package main

import (
	"fmt"
	"net/http"
	"strings"
)

// idea is something that might move a held request without a person.
type idea struct {
	says string
	try  func(*attacker)
}

// ideas are tried in this order. A new one is a new line: of tricks on every
// call, of bodies as they stand, of methods, or of letters. In the raw texts $RQ
// is a request of another caller, $CALL a call that deletes, $PARAMS its
// params, $SESSION the session of another client.
var ideas = []idea{
	// Calls as they are meant, and not.
	{"every tool, as it is meant", calls(tricks{})},
	{"every argument of every tool, with every value", everyValue},
	{"words of consent as arguments", everyWord},
	{"arguments of other tools", everyForeign},
	{"arguments that are no object", everyShape},
	{"tools that are not there", unknownTools(
		"approve_request", "requests_approve", "confirm", "decide_request", "settle_request", "restore_snapshot_now", "delete_snapshot ",
		" delete_snapshot", "DELETE_SNAPSHOT", "delete_snapshot\x00", "delete-snapshot", "../delete_snapshot", "delete_snapshot?confirm=true",
		"delete_snapshot#approved", "ｄelete_snapshot", "delete_snаpshot", "", "rq_7f3k9c", strings.Repeat("delete_snapshot", 5000))},

	// Consent beside the arguments.
	{"consent in params", inParams(`"approved":true`, `"confirm":true,"force":true`, `"approval":{"by":"root","with":"terminal","assurance":"local"}`,
		`"approvals":[{"by":"root"},{"by":"ada"}]`, `"passphrase":"`+testPassphrase+`"`, `"actor":{"door":"terminal","subject":"root (uid 0)"}`)},
	{"answers to forms that were never shown", inParams(
		`"inputResponses":{"confirm":{"action":"accept","content":{"server":"web-server-01","name":"web-server-01","typed":"web-server-01","confirm":true}}}`,
		`"inputResponses":{"approve":{"action":"accept","content":{"typed":"web-server-01"}},"typed":{"action":"accept","content":{"typed":"web-server-01"}}}`,
		`"inputResponses":{"$RQ":{"action":"accept","content":{"server":"web-server-01"}}},"requestState":"$RQ"`,
		`"inputResponses":{"":{"action":"accept","content":{}}},"requestState":""`,
		`"inputResponses":{"confirm":true}`, `"inputResponses":[]`, `"inputResponses":null,"requestState":null`, `"inputResponses":"accept"`,
		`"inputResponses":{"confirm":{"action":"accept"}},"inputResponses":{"confirm":{"action":"accept","content":{"server":"web-server-01"}}}`)},
	{"states that were never given", inParams(states()...)},
	{"tasks", inParams(`"task":{"ttl":60000}`, `"task":{"ttl":-1,"status":"completed"}`, `"task":"approved"`)},
	{"consent in _meta", inMeta(`"approved":true`, `"vpsguard/approved-by":"root"`, `"confirm":{"server":"web-server-01"}`,
		`"io.modelcontextprotocol/approval":{"granted":true}`, `"authorization":"Bearer `+testToken+`"`)},
	{"Slack's identity in _meta", inMeta(`"slack":{"user_id":"U2","team_id":"T0TEST","enterprise_id":"E1"}`,
		`"slack":{"user_id":"U2","action":"approve","request_id":"$RQ"}`, `"slack":[{"user_id":"U2"}]`)},
	{"progress tokens", inMeta(`"progressToken":"$RQ"`, `"progressToken":1`, `"progressToken":-1.5`, `"progressToken":null`,
		`"progressToken":{"a":1}`, `"progressToken":"`+strings.Repeat("p", 9000)+`"`)},
	{"protocol information", inMeta(`"io.modelcontextprotocol/clientInfo":{"name":"vpsguard","version":"1"}`,
		`"io.modelcontextprotocol/clientInfo":{"name":"a person at the host's terminal"}`, `"io.modelcontextprotocol/clientInfo":null`,
		`"io.modelcontextprotocol/clientCapabilities":{"approve":{}}`, `"io.modelcontextprotocol/protocolVersion":"9999-01-01"`,
		`"io.modelcontextprotocol/protocolVersion":"2024-11-05"`, `"io.modelcontextprotocol/logLevel":"debug"`,
		`"io.modelcontextprotocol/subscriptionId":"$RQ"`, `"io.modelcontextprotocol/related-task":{"taskId":"$RQ"}`)},

	// The protocol's other doors.
	{"methods that are not there", unknownMethods(`{"request_id":"$RQ","passphrase":"`+testPassphrase+`","typed":"web-server-01"}`,
		"requests/approve", "tools/approve", "approve", "elicitation/create", "elicitation/complete", "sampling/createMessage", "tasks/result",
		"tasks/update", "tasks/cancel", "tasks/list", "server/approve", "rpc.approve", "admin/settle", "logging/setLevel", "notifications/approved",
		"notifications/elicitation/complete", "notifications/tasks/status", "notifications/roots/list_changed", "tools/call\x00", "TOOLS/CALL")},
	{"resources", addressed("resources/read", "uri")},
	{"subscriptions to resources", addressed("resources/subscribe", "uri")},
	{"prompts", addressed("prompts/get", "name")},
	{"completion", unknownMethods(`{"ref":{"type":"ref/prompt","name":"$RQ"},"argument":{"name":"request_id","value":"rq_"},"context":{"arguments":{"approve":"$RQ"}}}`,
		"completion/complete", "prompts/list", "resources/list", "resources/templates/list", "subscriptions/listen", "server/discover", "ping")},
	{"answers to what was never asked", posted(
		`{"jsonrpc":"2.0","id":1,"result":{"action":"accept","content":{"server":"web-server-01","typed":"web-server-01"}}}`,
		`{"jsonrpc":"2.0","id":"$RQ","result":{"approved":true}}`, `{"jsonrpc":"2.0","id":null,"result":{"action":"accept"}}`,
		`{"jsonrpc":"2.0","id":1,"error":{"code":0,"message":"approved"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":$PARAMS,"result":{"action":"accept"}}`)},
	{"cancelling what others do", flooded(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d,"reason":"approved"}}`, 200)},
	{"cancelling by names", posted(cancelling(`"$RQ"`, `"hello"`, `null`, `{}`, `[1,2]`, `-1`, `1e3`, `"1"`)...)},

	// Requests of another caller.
	{"withdrawing, and asking again", func(a *attacker) {
		times := 20
		if !a.all() {
			times = 5
		}
		for range times {
			for _, tool := range a.tools {
				if !tool.Hints.ReadOnly {
					for _, args := range a.meant(tool) {
						a.call(tool.Name, object(args), tricks{})
					}
				}
			}
		}
	}},
	{"ids that look like those of requests", func(a *attacker) {
		id := a.victims[0].ID
		for _, like := range append(strange, strings.ToUpper(id), id+" ", id+"\x00", id+"/approve", "./"+id, id+"\u200b", "\u202e"+id, id+"%00", strings.TrimPrefix(id, "rq_")) {
			for _, tool := range a.tools {
				if _, has := tool.Input.Properties["request_id"]; has {
					a.call(tool.Name, fmt.Sprintf(`{"request_id":%s}`, quote(like)), tricks{})
				}
			}
		}
	}},

	// JSON that is read in two ways.
	{"keys that are there twice", posted(
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":$PARAMS}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","METHOD":"requests/approve","Method":"ping","params":$PARAMS}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_servers","name":"delete_snapshot","arguments":{"server":"web-server-01","snapshot_id":798,"reason":"x"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_snapshot","NAME":"list_servers","arguments":{"server":"web-server-01","snapshot_id":798,"reason":"x"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_snapshot","arguments":{"server":"db-server-01","server":"web-server-01","snapshot_id":1,"snapshot_id":798,"reason":"x"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_snapshot","arguments":{"server":"web-server-01","Snapshot_ID":798,"snapshot_id":798,"reason":"x"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":$PARAMS,"params":{"name":"list_servers"}}`)},
	{"several messages in one", posted(`[$CALL]`, `[$CALL,$CALL,$CALL]`, `[]`, `[[$CALL]]`, `[1,$CALL,null]`, "$CALL\n$CALL", "$CALL $CALL", `{"batch":[$CALL]}`)},
	{"JSON at its limits", posted(strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 100_000), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+strings.Repeat("[", 50_000)+strings.Repeat("]", 50_000)+`}`,
		"\ufeff$CALL", "$CALL\x00", "\x00$CALL", "", " ", "null", "0", `"$RQ"`, `{"jsonrpc":"2.0","id":1e400,"method":"ping"}`, `{"jsonrpc":"1.0","id":1,"method":"tools/call","params":$PARAMS}`,
		`{"id":1,"method":"tools/call","params":$PARAMS}`, `{"jsonrpc":"2.0","id":{"a":1},"method":"tools/call","params":$PARAMS}`, `{"jsonrpc":"2.0","id":[],"method":"tools/call","params":$PARAMS}`,
		`{"jsonrpc":"2.0","method":"tools/call","params":$PARAMS}`, `{"jsonrpc":"2.0","id":NaN,"method":"ping"}`, `{'jsonrpc':'2.0'}`, "\xff\xfe{\x00}\x00", `{"jsonrpc":"2.0","id":1,"method":["tools/call"],"params":$PARAMS}`,
		`{"jsonrpc":"2.0","id":"`+strings.Repeat("i", 100_000)+`","method":"tools/call","params":$PARAMS}`)},
	{"messages that are too large", posted(`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"` + strings.Repeat("a", 2<<20) + `"}}`)},

	// HTTP.
	{"headers that say something else", withHeaders("Mcp-Name", "list_servers")},
	{"a method in the header that is not the body's", withHeaders("Mcp-Method", "tools/list")},
	{"headers of identity", func(a *attacker) {
		for _, h := range []string{"X-Forwarded-User", "X-Remote-User", "Remote-User", "X-Auth-Request-User", "From", "X-Vpsguard-Actor", "X-Slack-User", "Cookie", "X-Approved-By"} {
			withHeaders(h, "root")(a)
		}
	}},
	{"tokens of others", func(a *attacker) {
		for _, token := range []string{
			"Bearer " + testToken, "Bearer", "Bearer ", "Basic cm9vdDpyb290", "Bearer null", "Bearer vpsguard", "bearer\tx", "Negotiate x", "Bearer ../../token",
			"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290Iiwic2NvcGUiOiJ2cHNndWFyZDpvcGVyYXRlIn0.",
		} {
			withHeaders("Authorization", token)(a)
		}
	}},
	{"sessions of others, and made up", func(a *attacker) {
		for _, id := range []string{a.other.session, "mcp-session-00000000-0000-0000-0000-000000000000", "stdio", "..", "", strings.Repeat("s", 4000), "$RQ"} {
			withHeaders("Mcp-Session-Id", id)(a)
		}
	}},
	{"protocol versions", func(a *attacker) {
		for _, v := range []string{"2024-11-05", "2025-03-26", "2025-06-18", "2026-07-28", "1999-01-01", "2026-07-28, 2025-11-25", "latest"} {
			withHeaders("Mcp-Protocol-Version", v)(a)
		}
	}},
	{"arguments as headers", withHeaders("Mcp-Param-Confirm", "true", "Mcp-Param-Approved", "=?base64?dHJ1ZQ==?=", "X-HTTP-Method-Override", "DELETE")},
	{"web pages", withHeaders("Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site", "Content-Type", "text/plain")},
	{"names that point here", withHeaders("Host", "evil.example")},
	{"forms", func(a *attacker) {
		for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json; charset=utf-7", ""} {
			withHeaders("Content-Type", kind)(a)
		}
	}},
	{"methods of HTTP", func(a *attacker) {
		for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace, "APPROVE", "CONNECT"} {
			for _, s := range []string{"mcp-session-00000000-0000-0000-0000-000000000000", "none"} { // no stream is opened
				a.send(letter{method: m, url: a.url + "/mcp", body: a.filled(`$CALL`), headers: []string{"Mcp-Session-Id", s, "Mcp-Protocol-Version", "2026-07-28"}})
			}
		}
	}},
	{"paths", atPaths("/", "/approve", "/requests", "/requests/$RQ", "/requests/$RQ/approve", "/api/requests/$RQ/approve", "/mcp/approve", "/mcp/../requests", "/MCP", "/mcp/", "//mcp",
		"/mcp%2f..%2fapprove", "/mcp;approve", "/mcp?request_id=$RQ&approve=true", "/healthz", "/readyz", "/metrics", "/debug/pprof/", "/debug/vars", "/admin", "/.well-known/oauth-protected-resource", "/sse", "/message")},
	{"Slack's door, unsigned", atSlack()},
	{"Slack's door, with made-up signatures", atSlack("X-Slack-Signature", "v0="+strings.Repeat("0", 64), "X-Slack-Request-Timestamp", "NOW")},
	{"Slack's door, signed with nothing", atSlack("X-Slack-Signature", "", "X-Slack-Request-Timestamp", "0", "X-Slack-Retry-Num", "1")},
	{"requests in requests", onTheWire(
		"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nPOST /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n$CALL",
		"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 999999\r\n\r\n$CALL",
		"POST http://127.0.0.1/requests/$RQ/approve HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
		"APPROVE $RQ HTTP/1.1\r\nHost: localhost\r\n\r\n", "$CALL\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},

	// Over again.
	{"much of that again, at once", (*attacker).again},
	{"much of that over stdio", (*attacker).overStdio},
}
