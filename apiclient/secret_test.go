package apiclient_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
)

// secretPart is the middle of the token, free of what any escaping would change.
const secretPart = "s3cr3t"

func TestNoFormOfAClientShowsTheToken(t *testing.T) {
	c, err := apiclient.New("https://api.example/api/v1/", token, apiclient.Options{})
	require.NoError(t, err)
	holder := struct{ C, c *apiclient.Client }{c, c}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "client", c, "holder", holder)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "client", c, "holder", holder)
	encoded, err := json.Marshal(holder)
	require.NoError(t, err)
	texts := []string{c.String(), c.BaseURL(), log.String(), string(encoded)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		texts = append(texts, fmt.Sprintf(verb, c), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, &holder), fmt.Sprintf(verb, []any{c}))
	}
	for _, text := range texts {
		assert.NotContains(t, text, secretPart)
		assert.NotContains(t, text, fmt.Sprintf("%x", secretPart))
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		assert.Equal(t, "VPS.org API at https://api.example/api/v1", fmt.Sprintf(verb, c))
	}
	assert.Contains(t, string(encoded), "https://api.example/api/v1")
	assert.Equal(t, "<nil>", fmt.Sprint((*apiclient.Client)(nil)))
}

func TestAnEchoedTokenIsRedactedHoweverItIsWritten(t *testing.T) {
	quoted, err := json.Marshal(token)
	require.NoError(t, err)
	escaped := ""
	for _, b := range []byte(token) {
		escaped += fmt.Sprintf("%%%02X", b)
	}
	// Around the 300th code point, and around the end of the 64 KiB that are read.
	edges := []string{}
	for _, at := range []int{300 - len(token) - 1, 290, 294, 295, 299} {
		edges = append(edges, strings.Repeat("x", at)+token)
	}
	for cutAt := range len(token) {
		edges = append(edges, strings.Repeat("\u200b", (64<<10-cutAt)/3)+strings.Repeat(" ", (64<<10-cutAt)%3)+token+strings.Repeat(" ", 1<<16))
	}
	for i, body := range append([]string{
		"bad token " + token,
		`{"detail":"bad token ` + token + `"}`,
		`{"detail":` + string(quoted) + `}`,
		`{"errors":{"Authorization":["Bearer ` + token + `"]}}`,
		`{"` + token + `":["is no field"]}`,
		`{"detail":"` + url.QueryEscape(token) + `"}`,
		url.PathEscape(token), escaped, strings.ToLower(escaped),
		html.EscapeString(token),
		strings.ToUpper(token),
		"twice " + token + token,
		"half: " + token[:len(token)/2],
		"half: " + token[len(token)/2:],
		token[:9] + "\u200b" + token[9:],
		token[:9] + "\n" + token[9:],
		strings.Join(strings.Split(token, ""), "\u200b"),
		"<p>" + token + "</p>",
	}, edges...) {
		for _, status := range []int{401, 429, 500} {
			if i%8 != 0 && status != 401 {
				continue // the text is treated alike, only the kinds differ
			}
			c := serve(t, fixed(status, body), apiclient.Options{})
			for _, call := range []func() error{
				func() error { return c.DeleteBackup(t.Context(), 3) },
				func() error { _, err := c.Account(t.Context()); return err },
			} {
				err := call()
				require.Error(t, err)
				var e *apiclient.Error
				require.ErrorAs(t, err, &e)
				shown, jsonErr := json.Marshal(err)
				require.NoError(t, jsonErr)
				text := strings.ToLower(fmt.Sprintf("%v|%+v|%#v|%s|%#v", err, err, e, shown, errors.Unwrap(err)))
				assert.NotContains(t, text, secretPart, "body %d with %d", i, status)
				for _, piece := range []string{"vps_", "t0ken", "%73%33%63%72%33%74"} {
					assert.NotContains(t, text, piece, "body %d with %d", i, status)
				}
				assert.LessOrEqual(t, utf8.RuneCountInString(e.Message), 300)
			}
		}
	}
}

func TestTheTokenIsRedactedInTheMessagesOfSuccess(t *testing.T) {
	c := serve(t, fixed(201, `{"id":1,"server":{"id":2},"message":"Thanks, `+token+`\u202e"}`), apiclient.Options{})
	s, err := c.CreateSnapshot(t.Context(), apiclient.NewSnapshot{ServerID: 2, Name: "n"})
	require.NoError(t, err)
	assert.Equal(t, "Thanks, [token]", s.Message)
}

func TestTheFakesEchoIsRedactedToo(t *testing.T) {
	fake := newFake(vpsfake.Options{})
	fake.Inject(vpsfake.Fault{Name: vpsfake.EchoToken})
	c := serve(t, fake, apiclient.Options{})
	for _, call := range calls {
		assert.ErrorContains(t, call.do(t.Context(), c), "Cannot use header Authorization: Bearer [token]")
	}
}

func TestAnErrorsTextIsOneVisibleLineOfAtMost300CodePoints(t *testing.T) {
	for _, row := range []struct{ name, body, want string }{
		{"a detail", `{"detail":"No."}`, "No."},
		{"an error", `{"error":"No."}`, "No."},
		{"a message", `{"message":"No."}`, "No."},
		{"an error with a message", `{"error":{"code":7,"message":"No."}}`, "No."},
		{"errors of fields", `{"name":["Too long.","Taken."],"server_id":["Required."]}`, "name: Too long. Taken.; server_id: Required."},
		{"a text in JSON", `"No."`, "No."},
		{"a list", `["No.","Never."]`, "No. Never."},
		{"plain text", "No.\r\n\tNever.", "No. Never."},
		{"HTML", "\n<html><title>502</title>", "an HTML page instead of JSON"},
		{"nothing", "", ""},
		{"a number", "7", ""},
		{"deep nesting", strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000), ""},
		{"bidi, zero width and control", "a\u202eb\u200bc\u0000d\u0085e\u2066f\ufeffg\u00adh\u2028i\U000e0041j\u3164k\ufe0fl", "abcd efgh ijkl"},
		{"invalid UTF-8", "a\xffb", "ab"},
		{"long", strings.Repeat("ä", 301), strings.Repeat("ä", 299) + "…"},
		{"long enough", strings.Repeat("ä", 300), strings.Repeat("ä", 300)},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := serve(t, fixed(http.StatusBadRequest, row.body), apiclient.Options{})
			var e *apiclient.Error
			require.ErrorAs(t, c.DeleteSnapshot(t.Context(), 801), &e)
			assert.Equal(t, row.want, e.Message)
			assert.Equal(t, &apiclient.Error{
				Kind: apiclient.Invalid, Status: 400, Method: "DELETE", Path: "/snapshots/801/", Doing: "deleting snapshot 801", Message: row.want,
			}, e)
			assert.True(t, strings.HasPrefix(err(e), "deleting snapshot 801: invalid (HTTP 400)"), err(e))
		})
	}
}

func err(e error) string { return e.Error() }
