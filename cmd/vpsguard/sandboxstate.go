package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpsguard/vpsguard/policy"
)

// sandboxState is what a running sandbox leaves for "requests --sandbox": a
// file in a folder of the user's own, gone when the sandbox ends. It holds no
// secret; the sandbox has none.
type sandboxState struct {
	PID       int       `json:"pid"`
	Started   time.Time `json:"started"`
	Database  string    `json:"database"`
	APIURL    string    `json:"api_url"`
	PollEvery string    `json:"poll_every"`
	ReadOnly  bool      `json:"read_only"`
	Policy    string    `json:"policy_file,omitempty"`
}

// newest stands for the sandbox that was started last.
const newest = "newest"

func sandboxFlag(c *cobra.Command) *string {
	name := c.PersistentFlags().String("sandbox", "", "work on the sandbox that runs on this host; =`PID` where several do")
	c.PersistentFlags().Lookup("sandbox").NoOptDefVal = newest
	return name
}

// announce lets other commands find a sandbox, until forget is called.
func (p *program) announce(s sandboxState) (forget func(), err error) {
	forget = func() {}
	folder, err := p.sandboxFolder()
	if err != nil {
		return forget, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return forget, err
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return forget, err
	}
	path := filepath.Join(folder, fmt.Sprintf("sandbox-%d.json", s.PID))
	_ = os.Remove(path) // of a process that had our number and was killed
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return forget, err
	}
	_, err = f.Write(raw)
	return func() { _ = os.Remove(path) }, errors.Join(err, f.Close())
}

// sandboxFolder is where sandboxes announce themselves: the user's own folder
// for what lives as long as a session, or the one for state.
func (p *program) sandboxFolder() (string, error) {
	for _, pair := range p.Env {
		if dir, ok := cutEnv(pair, "XDG_RUNTIME_DIR"); ok && filepath.IsAbs(dir) {
			return filepath.Join(dir, "vpsguard"), nil
		}
	}
	return stateFolder(p.Env)
}

func cutEnv(pair, name string) (string, bool) {
	if len(pair) > len(name) && pair[:len(name)] == name && pair[len(name)] == '=' {
		return pair[len(name)+1:], true
	}
	return "", false
}

// sandboxSettings finds a running sandbox and gives the settings to work on it.
func (p *program) sandboxSettings(ctx context.Context, which string) (settings, error) {
	found, err := p.sandboxes(ctx)
	if err != nil {
		return settings{}, err
	}
	var s *sandboxState
	for i := range found {
		wanted := which == newest || strconv.Itoa(found[i].PID) == which
		if wanted && (s == nil || found[i].Started.After(s.Started)) {
			s = &found[i]
		}
	}
	if s == nil {
		e := policy.Errorf(policy.NotFound, "no such sandbox of yours runs on this host")
		if len(found) > 0 {
			return settings{}, e.WithHint("One that runs: --sandbox=%d", found[0].PID)
		}
		return settings{}, e.WithHint("Start one: vpsguard sandbox")
	}
	if which == newest && len(found) > 1 {
		_, _ = fmt.Fprintf(p.Stderr, "%d sandboxes run; this is the newest, --sandbox=%d\n", len(found), s.PID)
	}
	return load(ctx, []string{
		prefix + "DATABASE=" + s.Database, prefix + "API_URL=" + s.APIURL, prefix + "API_TOKEN=" + sandboxToken,
		prefix + "POLL_EVERY=" + s.PollEvery, prefix + "READ_ONLY=" + strconv.FormatBool(s.ReadOnly),
		prefix + "POLICY_FILE=" + s.Policy,
	})
}

// sandboxes are those that run. Files of those that were killed are removed.
func (p *program) sandboxes(ctx context.Context) ([]sandboxState, error) {
	folder, err := p.sandboxFolder()
	if err != nil {
		return nil, policy.Errorf(policy.NotFound, "this user has no folder in which sandboxes could be found").
			WithHint("Set HOME or XDG_RUNTIME_DIR for both commands.").Because(err)
	}
	paths, err := filepath.Glob(filepath.Join(folder, "sandbox-*.json"))
	if err != nil {
		return nil, err
	}
	var out []sandboxState
	for _, path := range paths {
		var s sandboxState
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it ended just now
		}
		if err != nil || json.Unmarshal(raw, &s) != nil || !s.runs(ctx) {
			_ = os.Remove(path)
			continue
		}
		out = append(out, s)
	}
	return out, nil
}

// runs tells whether the sandbox's simulated VPS.org answers.
func (s sandboxState) runs(ctx context.Context) bool {
	u, err := url.Parse(s.APIURL)
	if err != nil || !loopback(u.Host) {
		return false
	}
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
