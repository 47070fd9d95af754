package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/vpsguard/vpsguard/policy"
)

// The keys of lines that are about a request, an operation, or somebody, the same
// everywhere: request, operation, actor, door. See ARCHITECTURE.md.

const (
	// Of one message so many lines are written at once, and then so many a second.
	// What is left out is counted on the next line of that message.
	mostLines      = 200
	linesPerSecond = 10
	// mostMessages is how many messages are counted each for itself. Ours are fixed
	// sentences; those of libraries may not be.
	mostMessages = 512
	// mostValue is how long a text in a line may be, in bytes.
	mostValue = 16 << 10
)

// logger writes to standard error, and nowhere else.
func (p *program) logger(s settings) *slog.Logger {
	var level slog.Level                        // info
	_ = level.UnmarshalText([]byte(s.LogLevel)) // was checked
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: short}
	var h slog.Handler = slog.NewTextHandler(p.Stderr, o)
	if s.LogFormat == "json" {
		h = slog.NewJSONHandler(p.Stderr, o)
	}
	p.log = slog.New(&quiet{Handler: h, flood: &flood{lines: map[string]*line{}, dropped: p.metrics.dropped()}})
	return p.log
}

// short cuts what nobody reads to its end.
func short(_ []string, a slog.Attr) slog.Attr {
	text := ""
	switch v := a.Value.Any().(type) {
	case string:
		text = v
	case error:
		text = v.Error()
	}
	if len(text) > mostValue {
		a.Value = slog.StringValue(text[:mostValue] + "… (cut)")
	}
	return a
}

// flood counts lines by their message.
type flood struct {
	dropped func() // is told of each line that is left out

	mu    sync.Mutex
	lines map[string]*line
}

// line is what is known of one message.
type line struct {
	rate     *rate.Limiter
	left     int // out, since the last one that was written
	lastSeen time.Time
}

// quiet is a handler that does not let one message flood the log: strangers and
// broken surroundings must not be able to fill a disk, or hide what matters.
type quiet struct {
	slog.Handler
	flood *flood
}

// Handle is [slog.Handler]'s.
func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	write, left := q.flood.may(r)
	if !write {
		q.flood.dropped()
		return nil
	}
	if left > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", left))
	}
	return q.Handler.Handle(ctx, r)
}

// WithAttrs is [slog.Handler]'s.
func (q *quiet) WithAttrs(a []slog.Attr) slog.Handler {
	return &quiet{q.Handler.WithAttrs(a), q.flood}
}

// WithGroup is [slog.Handler]'s.
func (q *quiet) WithGroup(name string) slog.Handler {
	return &quiet{q.Handler.WithGroup(name), q.flood}
}

// may tells whether a line is written, and how many like it were not before.
func (f *flood) may(r slog.Record) (write bool, left int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := r.Level.String() + " " + r.Message
	l := f.lines[key]
	if l == nil {
		if len(f.lines) >= mostMessages {
			f.forget(r.Time)
		}
		if len(f.lines) >= mostMessages {
			key = "" // all others share one
		}
		if l = f.lines[key]; l == nil {
			l = &line{rate: rate.NewLimiter(linesPerSecond, mostLines)}
			f.lines[key] = l
		}
	}
	l.lastSeen = r.Time
	if !l.rate.AllowN(r.Time, 1) {
		l.left++
		return false, 0
	}
	left, l.left = l.left, 0
	return true, left
}

// forget drops what was not said for long.
func (f *flood) forget(now time.Time) {
	for key, l := range f.lines {
		if now.Sub(l.lastSeen) > mostLines/linesPerSecond*time.Second {
			delete(f.lines, key)
		}
	}
}

// noted is a ledger that logs what this process has changed, once it is stored:
// everything that is filed, decided, run or watched here passes through it.
type noted struct {
	policy.Ledger
	log *slog.Logger
}

// Change is [policy.Ledger]'s.
func (n noted) Change(ctx context.Context, f func(context.Context, policy.Tx) error) error {
	var news []tiding
	err := n.Ledger.Change(ctx, func(ctx context.Context, tx policy.Tx) error {
		return f(ctx, &notedTx{tx, &news})
	})
	if err == nil {
		for _, one := range news {
			one.tell(ctx, n.log)
		}
	}
	return err
}

// notedTx remembers what was put.
type notedTx struct {
	policy.Tx
	news *[]tiding
}

// Put is [policy.Tx]'s.
func (t *notedTx) Put(ctx context.Context, r policy.Request, b policy.RecordBody) (policy.Request, error) {
	stored, err := t.Tx.Put(ctx, r, b)
	if err == nil {
		*t.news = append(*t.news, tiding{stored, b})
	}
	return stored, err
}

// Append is [policy.Tx]'s.
func (t *notedTx) Append(ctx context.Context, b policy.RecordBody) error {
	err := t.Tx.Append(ctx, b)
	if err == nil && b.Event == policy.EventRefused {
		var about policy.Request
		if about, err = t.Request(ctx, b.Request); err == nil {
			*t.news = append(*t.news, tiding{about, b})
		}
	}
	return err
}

// tiding is one record about a request.
type tiding struct {
	about  policy.Request
	record policy.RecordBody
}

// tell logs a change of state, or a decision that was refused. No text of anybody's
// is in it: what people wrote is in the audit.
func (n tiding) tell(ctx context.Context, log *slog.Logger) {
	b := n.record
	attrs := []any{"request", n.about.ID, "operation", policy.Clean(n.about.Operation, 40), "actor", actorKey(b.By), "door", doorKey(b.By.Door), "event", b.Event}
	switch {
	case b.Event == policy.EventRefused:
		log.InfoContext(ctx, "a decision was refused", append(attrs, "kind", b.Detail["kind"])...)
	case b.From == b.To:
		log.DebugContext(ctx, "a request goes on", append(attrs, "state", b.To)...)
	default:
		log.InfoContext(ctx, "a request has changed", append(attrs, "from", stateKey(b.From), "to", b.To)...)
	}
}

// actorKey is somebody in the log: what the door vouches for, and no name.
func actorKey(a policy.Actor) string { return policy.Clean(a.Subject, 120) }

// doorKey is a door in the log and in the metrics; the program itself comes through none.
func doorKey(d policy.Door) string {
	if d == "" {
		return "none"
	}
	return string(d)
}

// stateKey is a state in the log; a request that is new has had none.
func stateKey(s policy.State) string {
	if s == "" {
		return "none"
	}
	return string(s)
}
