package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// clockOff says how far the clock of an odd program is off.
const clockOff = "TEST_CLOCK_OFF"

// odd is the program by a clock that is off, and without limits on how often Slack is
// called, which would make a day of a minute one of hours, nor callers call. slackfake has
// none then either.
func odd() {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	var off time.Duration
	if s := os.Getenv(clockOff); s != "" {
		var err error
		if off, err = time.ParseDuration(s); err != nil {
			panic(err)
		}
	}
	p := &program{
		Args: os.Args, Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Now: func() time.Time { return time.Now().Add(off) }, Pace: unlimited(),
	}
	os.Exit(p.Main(ctx)) //nolint:gocritic // nothing is left to be done
}

// replica is a process that serves, one after the other.
type replica struct {
	t   *testing.T
	env []string

	mu     sync.Mutex
	cmd    *exec.Cmd
	log    *lines
	before *lines // of the process before
	url    string // "" until it was printed
}

// start starts a process.
func (r *replica) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before, r.log, r.url = r.log, &lines{}, ""
	r.cmd = exec.Command("vpsguard-odd", "serve") //nolint:noctx // it is killed
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = r.env, r.log, r.log
	if err := r.cmd.Start(); err != nil {
		r.t.Errorf("a replica does not start: %v", err)
		r.cmd = nil
	}
}

// kill ends the process as a power cut does, and returns when it is dead.
func (r *replica) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	r.cmd = nil
}

var mcpURL = regexp.MustCompile(`http://[^ "]*/mcp`)

// now is where it serves at this moment; "" where it does not.
func (r *replica) now() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		return ""
	}
	if r.url == "" {
		r.url = strings.TrimSuffix(mcpURL.FindString(r.log.String()), "/mcp")
	}
	return r.url
}

// address waits until it serves.
func (r *replica) address() (url string) {
	assertEventually(func() bool { url = r.now(); return url != "" })
	return url
}

// kills kills a replica now and then, or when VPS.org strikes, and starts it again.
func (d *badDay) kills(ctx context.Context) {
	dice := d.dice("kills", 0)
	for n := 0; ; n++ {
		// Mostly soon, and sometimes after a while in which more can be finished.
		lives := min(time.Duration(float64(d.plan.every)*(0.2+dice.ExpFloat64()*0.8)), 4*d.plan.every)
		if n >= d.plan.kills { // what is left to be asked for shall get done
			lives *= 3
		}
		wait := time.NewTimer(lives)
		dead := make(chan struct{})
		select {
		case dead = <-d.strikes:
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
		wait.Stop()
		r := d.replicas[dice.IntN(len(d.replicas))]
		r.kill()
		close(dead)
		d.count("killed")
		pause(ctx, time.Duration(dice.Int64N(int64(300*time.Millisecond))))
		r.start()
	}
}

// strike has a replica killed now, and returns when it is dead: VPS.org is at a write.
// Where there are several, it is the one that waits for the answer by chance.
func (d *badDay) strike(when string) bool {
	dead := make(chan struct{})
	soon := time.After(300 * time.Millisecond)
	select {
	case d.strikes <- dead:
		<-dead
		d.count("killed %s", when)
		return len(d.replicas) == 1 // then it was the one that waited for the answer
	case <-soon: // another one is being killed
		return false
	}
}

// harms does some harm to the database now and then.
func (d *badDay) harms(ctx context.Context) {
	dice := d.dice("harms", 0)
	for pause(ctx, d.plan.database.harmed/2+time.Duration(dice.Int64N(int64(d.plan.database.harmed)))) {
		d.count("database: %s", d.plan.database.harm(ctx, dice))
	}
}

// pause waits, and tells whether it was for so long.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var errNobodyServes = errors.New("no replica serves")

// tool has a program call a tool of any replica, and of another where that one does not
// answer, as a client behind a load balancer does.
func (d *badDay) tool(ctx context.Context, dice *rand.Rand, who rawClient, name string, args map[string]any) (a toolAnswer, err error) {
	for range 5 {
		err = errNobodyServes
		if url := d.replicas[dice.IntN(len(d.replicas))].now(); url != "" {
			if dice.IntN(2) == 0 {
				who.session = ""
			}
			within, cancel := context.WithTimeout(ctx, 10*time.Second)
			a, err = who.call(within, url, name, args)
			cancel()
			if err == nil {
				d.count("programs: answered")
				return a, nil
			}
		}
		d.count("programs: not answered")
		if !pause(ctx, 100*time.Millisecond) {
			break
		}
	}
	return a, err
}

// lastWords are what the replicas have logged last.
func (d *badDay) lastWords() string {
	var b strings.Builder
	for i, r := range d.replicas {
		r.mu.Lock()
		for _, log := range []*lines{r.before, r.log} {
			if log == nil {
				continue
			}
			text := log.String()
			_, _ = fmt.Fprintf(&b, "--- replica %d\n%s\n", i, text[max(0, len(text)-3000):])
		}
		r.mu.Unlock()
	}
	return b.String()
}
