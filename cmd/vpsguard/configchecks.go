package main

import (
	"encoding/base64"
	"encoding/hex"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot"
)

// checks tell for each variable whether a value can be used. What it takes is
// said in its tag.
var checks = map[string]func(string) bool{
	"API_TOKEN": func(v string) bool {
		_, err := apiclient.New(apiclient.DefaultBaseURL, v, apiclient.Options{})
		return err == nil
	},
	"API_URL": func(v string) bool {
		_, err := apiclient.New(v, "token", apiclient.Options{})
		return err == nil
	},
	"API_TIMEOUT":          between(100*time.Millisecond, 10*time.Minute),
	"ADDR":                 isAddress,
	"PUBLIC_URL":           isOrigin,
	"METRICS_ADDR":         func(v string) bool { return isAddress(v) && loopback(v) },
	"OIDC_ISSUER":          isIssuer,
	"OIDC_AUDIENCE":        policy.Plain,
	"DATABASE":             isDatabase,
	"READ_ONLY":            func(v string) bool { _, err := strconv.ParseBool(v); return err == nil },
	"POLICY_FILE":          func(v string) bool { return !strings.ContainsRune(v, 0) }, // is looked at where it is read
	"CONFIRM":              isConfirm,
	"STATE_KEY":            func(v string) bool { _, ok := sealKey(v); return ok },
	"APPROVE_WITHIN":       between(time.Second, 24*time.Hour),
	"START_WITHIN":         between(time.Second, 24*time.Hour),
	"POLL_EVERY":           between(50*time.Millisecond, 10*time.Minute),
	"SLACK_BOT_TOKEN":      begins("xoxb-"),
	"SLACK_APP_TOKEN":      begins("xapp-"),
	"SLACK_SIGNING_SECRET": areSecrets,
	"SLACK_APPROVERS":      areApprovers,
	"SLACK_CHANNEL":        regexp.MustCompile(`^[CG][A-Z0-9]+$`).MatchString,
	"SLACK_API_URL":        isSlackAPI,
	"LOG_LEVEL":            oneOf("debug", "info", "warn", "error"),
	"LOG_FORMAT":           oneOf("text", "json"),
}

func between(least, most time.Duration) func(string) bool {
	return func(v string) bool {
		d, err := time.ParseDuration(v)
		return err == nil && d >= least && d <= most
	}
}

func oneOf(values ...string) func(string) bool {
	return func(v string) bool { return slices.Contains(values, v) }
}

func isAddress(v string) bool {
	_, port, err := net.SplitHostPort(v)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func isOrigin(v string) bool {
	u, err := url.Parse(v)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil &&
		strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
}

// isIssuer wants what others cannot answer for. A "#" would make its subjects ambiguous.
func isIssuer(v string) bool {
	u, err := url.Parse(v)
	return err == nil && u.Host != "" && u.User == nil && !strings.ContainsAny(v, "?#") && policy.Plain(v) &&
		(u.Scheme == "https" || u.Scheme == "http" && onLoopback(u))
}

// isDatabase wants a file, since a database in memory would forget who agreed to
// what, or a server's database. What is wrong with that is told where it is opened.
func isDatabase(v string) bool {
	if isServer(v) {
		u, err := url.Parse(v)
		if err != nil || strings.Contains(u.EscapedPath(), "@") { // a password that is not escaped ended too soon
			return false
		}
		return (u.Host != "" || u.Query().Has("host")) && (strings.Trim(u.Path, "/") != "" || u.Query().Has("dbname"))
	}
	path, ok := strings.CutPrefix(v, "sqlite:")
	return ok && path != "" && !strings.HasPrefix(path, ":") && !strings.ContainsAny(path, "?#")
}

// isServer tells whether a database is not a file but on a server, whose clock
// then decides.
func isServer(database string) bool {
	return strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://")
}

func isConfirm(v string) bool {
	ways := strings.Split(v, ",")
	for i, way := range ways {
		ways[i] = strings.TrimSpace(way)
	}
	slices.Sort(ways)
	known := !slices.ContainsFunc(ways, func(w string) bool { return w != "terminal" && w != "slack" && w != "elicitation" })
	return known && len(slices.Compact(ways)) == len(ways) || slices.Equal(ways, []string{"none"})
}

// sealKey reads 32 bytes in hex or base64.
func sealKey(v string) (key []byte, ok bool) {
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if key, err := decode(v); err == nil && len(key) == 32 {
			return key, true
		}
	}
	return nil, false
}

func begins(with string) func(string) bool {
	return func(v string) bool { return strings.HasPrefix(v, with) && policy.Plain(v) && len(v) > len(with) }
}

var aSecret = regexp.MustCompile(`^[0-9a-f]{32}$`)

func areSecrets(v string) bool {
	secrets := strings.Split(v, ",")
	return len(secrets) <= 2 && !slices.ContainsFunc(secrets, func(s string) bool { return !aSecret.MatchString(strings.TrimSpace(s)) })
}

func areApprovers(v string) bool {
	return !slices.ContainsFunc(strings.Split(v, ","), func(id string) bool { return !slackbot.ValidApprover(strings.TrimSpace(id)) })
}

func isSlackAPI(v string) bool {
	u, err := url.Parse(v)
	return err == nil && u.Host != "" && u.User == nil && strings.HasSuffix(u.Path, "/") && u.RawQuery == "" && u.Fragment == "" &&
		(u.Scheme == "https" || u.Scheme == "http" && onLoopback(u))
}

// onLoopback tells whether only this host can be meant by a URL.
func onLoopback(u *url.URL) bool {
	return u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
}

// loopback tells whether only this host can reach an address.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// nearest gives the name that somebody may have meant, or "".
func nearest(name string, names []string) string {
	best, least := "", 4 // more than three letters off is something else
	for _, n := range names {
		if d := distance(name, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is how many letters have to be changed, added or left out.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
