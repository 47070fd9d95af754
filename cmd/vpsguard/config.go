package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/vpsguard/vpsguard/policy"
)

// prefix is what the names of all our variables begin with.
const prefix = "VPSGUARD_"

// settings are the whole configuration: environment variables, and nothing else.
// Each field's tags are its variable, a sentence about it, and what it takes;
// the help and the README are made from them.
type settings struct {
	APIToken   secret        `env:"API_TOKEN" about:"The token for the VPS.org API, from the developers page of the account." takes:"the token as that page shows it, in one word"`
	APIURL     string        `env:"API_URL, default=https://admin.vps.org/api/v1" about:"Where the VPS.org API is." takes:"an https URL, or an http one on this host, such as https://admin.vps.org/api/v1"`
	APITimeout time.Duration `env:"API_TIMEOUT, default=30s" about:"How long one call to the API may take." takes:"a duration from 100ms to 10m, such as 30s"`

	Addr        string `env:"ADDR, default=127.0.0.1:8080" about:"Where serve and sandbox listen." takes:"a host and a port, such as 127.0.0.1:8080"`
	PublicURL   string `env:"PUBLIC_URL" about:"The URL at which clients reach serve, where that is not ADDR; its host is then accepted too." takes:"a URL without a path, such as https://vpsguard.example.com"`
	MetricsAddr string `env:"METRICS_ADDR" about:"Where serve shows its metrics to Prometheus, at /metrics; nowhere unless set." takes:"a host and a port of this host, such as 127.0.0.1:9090"`

	OIDCIssuer   string `env:"OIDC_ISSUER" about:"The OpenID issuer whose access tokens let callers in over HTTP, beside our own tokens." takes:"an https URL, or an http one on this host, letter by letter as the issuer calls itself"`
	OIDCAudience string `env:"OIDC_AUDIENCE" about:"The audience that those tokens must be for." takes:"a text without blanks, such as https://vpsguard.example.com/mcp"`

	Database secret `env:"DATABASE" about:"Where requests and the audit are stored; a file in the user's state folder unless set. Several replicas share one PostgreSQL database." takes:"sqlite: and the path of a file, such as sqlite:/var/lib/vpsguard/ledger.db, or postgres://USER:PASSWORD@HOST/DATABASE"`
	ReadOnly bool   `env:"READ_ONLY, default=false" about:"Whether this process only reads: it files, approves and runs nothing." takes:"true or false"`

	PolicyFile    string        `env:"POLICY_FILE" about:"The file with the operator's rules, which ask for more than one confirmation, or forbid." takes:"the path of a file"`
	Confirm       []string      `env:"CONFIRM" about:"Which ways of confirming count; terminal unless set, and slack too where Slack is set up." takes:"slack, terminal and elicitation (forms in MCP clients; no proof), with commas between, or none where nobody may confirm anything"`
	StateKey      secret        `env:"STATE_KEY" about:"The key that seals the forms of elicitation, the same for all processes on a ledger; unless set, the ledger keeps one." takes:"32 random bytes in hex or base64"`
	ApproveWithin time.Duration `env:"APPROVE_WITHIN, default=30m" about:"How long a request waits for people." takes:"a duration from 1s to 24h, such as 30m"`
	StartWithin   time.Duration `env:"START_WITHIN, default=10m" about:"How long an approved request may wait for its start." takes:"a duration from 1s to 24h, such as 10m"`
	PollEvery     time.Duration `env:"POLL_EVERY, default=10s" about:"How often an accepted create or restore is looked at." takes:"a duration from 50ms to 10m, such as 10s"`

	SlackBotToken      secret   `env:"SLACK_BOT_TOKEN" about:"The bot token of the Slack app; it opens the Slack door." takes:"a token that begins with xoxb-"`
	SlackAppToken      secret   `env:"SLACK_APP_TOKEN" about:"The app-level token with which Slack is reached by Socket Mode." takes:"a token that begins with xapp-"`
	SlackSigningSecret secret   `env:"SLACK_SIGNING_SECRET" about:"The secret with which Slack signs what it sends to /slack/ over HTTP." takes:"32 hex digits; while the secret is changed, the new and the old one with a comma between"`
	SlackApprovers     []string `env:"SLACK_APPROVERS" about:"Who may confirm in Slack; nobody else." takes:"ids of users (U0123ABCD) and user groups (S0123ABCD) with commas between"`
	SlackChannel       string   `env:"SLACK_CHANNEL" about:"The channel in which people decide; the app has to be in it." takes:"the id of a channel, such as C0123ABCD"`
	SlackAPIURL        string   `env:"SLACK_API_URL, default=https://slack.com/api/" about:"Where Slack's API is; another one than Slack's needs a VPSGUARD_API_URL on this host." takes:"an https URL, or an http one on this host, that ends with a slash"`

	LogLevel  string `env:"LOG_LEVEL, default=info" about:"How much is logged, on standard error." takes:"debug, info, warn or error"`
	LogFormat string `env:"LOG_FORMAT, default=text" about:"How it is logged." takes:"text or json"`
}

// variable is one environment variable as it is documented.
type variable struct {
	Name    string // with the prefix
	Default string
	About   string
	Takes   string
	Secret  bool // may also come from a file, NAME_FILE
}

// variables are all that count, in the order of the fields.
func variables() []variable {
	var out []variable
	for f := range reflect.TypeFor[settings]().Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("env"), ",")
		_, value, _ := strings.Cut(options, "default=")
		out = append(out, variable{
			Name: prefix + name, Default: value, About: f.Tag.Get("about"), Takes: f.Tag.Get("takes"),
			Secret: f.Type == reflect.TypeFor[secret](),
		})
	}
	return out
}

// load reads the configuration. Its errors are one line each, name the variable
// and the fix, and never repeat a value, which may be a secret in the wrong place.
func load(ctx context.Context, environment []string) (settings, error) {
	var s settings
	env := ours(environment)
	if err := known(env); err != nil {
		return s, err
	}
	if err := fromFiles(env); err != nil {
		return s, err
	}
	if err := checked(env); err != nil {
		return s, err
	}
	err := envconfig.ProcessWith(ctx, &envconfig.Config{
		Target: &s, Lookuper: envconfig.PrefixLookuper(prefix, envconfig.MapLookuper(env)),
	})
	if err != nil {
		return s, policy.Errorf(policy.Internal, "the configuration could not be read").Because(err)
	}
	return s, s.complete(environment)
}

// checked refuses the first value that cannot be used.
func checked(env map[string]string) error {
	for _, v := range variables() {
		value, set := env[v.Name]
		if !set {
			continue
		}
		key := strings.TrimPrefix(v.Name, prefix)
		if !checks[key](value) {
			return usagef("%s must be %s", v.Name, v.Takes)
		}
	}
	return nil
}

// ours gives our variables. One that is set to nothing is not set, as with the
// empty fields of a client's settings form.
func ours(environment []string) map[string]string {
	env := map[string]string{}
	for _, pair := range environment {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, prefix) && strings.TrimSpace(value) != "" {
			env[name] = strings.TrimSpace(value)
		}
	}
	return env
}

// known refuses variables that would have no effect: a typing error must not
// switch off a guard.
func known(env map[string]string) error {
	var names []string
	for _, v := range variables() {
		names = append(names, v.Name)
		if v.Secret {
			names = append(names, v.Name+"_FILE")
		}
	}
	set := make([]string, 0, len(env))
	for name := range env {
		set = append(set, name)
	}
	slices.Sort(set)
	for _, name := range set {
		if slices.Contains(names, name) {
			continue
		}
		if like := nearest(name, names); like != "" {
			return usagef("%s is no variable of vpsguard; did you mean %s?", policy.Clean(name, 60), like)
		}
		return usagef("%s is no variable of vpsguard; remove it (vpsguard help environment lists all)", policy.Clean(name, 60))
	}
	return nil
}

// fromFiles puts the content of each …_FILE where its variable is looked for.
func fromFiles(env map[string]string) error {
	for _, v := range variables() {
		file := v.Name + "_FILE"
		path := env[file]
		if !v.Secret || path == "" {
			continue
		}
		if env[v.Name] != "" {
			return usagef("%s and %s are both set; keep one", v.Name, file)
		}
		raw, err := readSmall(path)
		value := strings.TrimSpace(string(raw))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return usagef("%s names a file that does not exist; name the file that holds %s", file, v.Takes)
		case err != nil:
			return usagef("%s names a file that cannot be read; let this user read it", file)
		case value == "":
			return usagef("%s names a file that is empty; put %s in it", file, v.Takes)
		}
		env[v.Name] = value
	}
	return nil
}

func readSmall(path string) ([]byte, error) { return readAtMost(path, 64<<10) }

// readAtMost reads a regular file that is not larger than it may be, in bytes.
func readAtMost(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a device or a pipe could go on for ever
		return nil, fs.ErrInvalid
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fs.ErrInvalid
	}
	return raw, err
}

// complete fills in what depends on the host.
func (s *settings) complete(environment []string) error {
	for _, list := range [][]string{s.Confirm, s.SlackApprovers} {
		for i, one := range list {
			list[i] = strings.TrimSpace(one)
		}
	}
	if err := s.completeSlack(); err != nil {
		return err
	}
	if err := s.completeIssuer(); err != nil {
		return err
	}
	if s.Database.Reveal() != "" {
		return nil
	}
	dir, err := stateFolder(environment)
	if err != nil {
		return usagef("VPSGUARD_DATABASE is not set and this user has no home folder; set it to sqlite: and the path of a file")
	}
	s.Database = secret{"sqlite:" + filepath.Join(dir, "ledger.db")}
	return nil
}

// stateFolder is where the user's programs keep what must outlive them.
func stateFolder(environment []string) (string, error) {
	env := map[string]string{}
	for _, pair := range environment {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	base := ""
	switch home := env["HOME"]; {
	case filepath.IsAbs(env["XDG_STATE_HOME"]):
		base = env["XDG_STATE_HOME"]
	case runtime.GOOS == "windows":
		base = env["LOCALAPPDATA"]
	case runtime.GOOS == "darwin" && home != "":
		base = filepath.Join(home, "Library", "Application Support")
	case home != "":
		base = filepath.Join(home, ".local", "state")
	}
	if !filepath.IsAbs(base) {
		return "", fs.ErrNotExist
	}
	return filepath.Join(base, "vpsguard"), nil
}

// ways are those that count here.
func (s settings) ways() []policy.Way {
	if slices.Contains(s.Confirm, "none") {
		return nil
	}
	ways := make([]policy.Way, 0, len(s.Confirm))
	for _, way := range s.Confirm {
		ways = append(ways, policy.Way(way))
	}
	return ways
}
