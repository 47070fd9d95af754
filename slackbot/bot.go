package slackbot

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"

	"github.com/vpsguard/vpsguard/policy"
)

// Notes is what the door remembers: a part of [policy.Ledger].
type Notes interface {
	Now(ctx context.Context) (time.Time, error)
	Note(ctx context.Context, scope, key string) (policy.Note, error)
	Notes(ctx context.Context, scope string, due time.Time, limit int) ([]policy.Note, error)
	PutNote(ctx context.Context, n policy.Note) (policy.Note, error)
	DropNote(ctx context.Context, n policy.Note) error
}

// Options are what a [Bot] is made of.
type Options struct {
	Gate  Gate
	Notes Notes
	// Account tells whose servers this process works on, as in [policy.Config].
	Account func(context.Context) (policy.Account, error)
	// People are asked who is who; they also speak to Slack for the bot.
	People *People
	// Channel is where people decide. "" where nothing is confirmed in Slack.
	Channel string
	// AppToken opens Socket Mode; "" for none.
	AppToken string
	// Dialer opens its connections; nil for one of our own.
	Dialer *websocket.Dialer
	// Secrets verify what Slack sends over HTTP, the newest first; none for no HTTP.
	Secrets []string
	// Label, such as "sandbox", stands in front of everything that is shown.
	Label string
	// ReadOnly means that this process shows nothing unasked and changes nothing.
	ReadOnly bool

	Now    func() time.Time // the clock of transports and menus; the ledger's decides
	Random func([]byte)     // uniform random bytes
	Log    *slog.Logger     // nil drops everything
}

// Bot is the Slack door. It may be told things and serve both transports at once.
type Bot struct {
	Options
	name    string // of this process, among others
	client  *client
	cards   *client // the same, for what the next process does as well
	grammar *grammar
	face    face
	http    http.Handler
	sockets *slack.Client
	intake  *intake
	board   socketBoard

	open context.Context // ends when nothing more is to be begun
	shut context.CancelFunc
	life context.Context // ends when work in flight has to
	end  context.CancelFunc
	jobs sync.WaitGroup

	mu      sync.Mutex
	busy    map[string]bool
	menus   map[string]menuEntry
	trouble string            // why cards cannot be posted where people decide
	lists   flights[[]option] // that menus wait for
	turns   map[string]*turn  // of those who decide, by request
}

const (
	// sweepEvery is how often this process looks for what nobody nudged.
	sweepEvery = 2 * time.Second
	// sweepMost is how much is looked at in one go.
	sweepMost = 100
	// graceFor is how long work in flight may go on at the end.
	graceFor = 5 * time.Second
)

// Command is what people type first.
const Command = "/vps"

// New makes the door. It sends nothing. It fails with [policy.Invalid] where
// something is missing, so that a mistake stops start-up.
func New(o Options) (*Bot, error) {
	switch {
	case o.Gate == nil, o.Notes == nil, o.Account == nil, o.People == nil, o.Now == nil, o.Random == nil:
		return nil, policy.Errorf(policy.Invalid, "the Slack door is not whole")
	case o.AppToken == "" && len(o.Secrets) == 0:
		return nil, policy.Errorf(policy.Invalid, "the Slack door has no way in: neither Socket Mode nor HTTP")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Bot{
		Options: o, client: o.People.c, grammar: newGrammar(Command, o.Gate.Catalogue()),
		face: face{Command: Command, Approvers: o.People.Approvers(), Label: o.Label},
		busy: map[string]bool{}, menus: map[string]menuEntry{},
	}
	b.name = b.random(12)
	b.sockets = socketAPI(o, o.People.c.url, o.People.c.http)
	b.open, b.shut = context.WithCancel(context.Background())
	b.life, b.end = context.WithCancel(context.Background())
	b.cards = b.client.until(b.open.Done())
	b.intake = newIntake(b.life, intakeOptions{Now: o.Now, Log: o.Log, Late: b.missed})
	b.http = newHTTP(httpOptions{Secrets: o.Secrets, Intake: b.intake, Now: o.Now, Log: o.Log}, b.receive)
	return b, nil
}

// Run keeps the door open until the context ends; then it lets work in flight
// end, but not for ever.
func (b *Bot) Run(ctx context.Context) {
	defer b.close()
	var all sync.WaitGroup
	if b.AppToken != "" {
		all.Go(func() { b.listen(ctx) })
	}
	all.Go(func() { b.sweep(ctx) })
	all.Wait()
}

// close waits for what is in flight, but not for ever.
func (b *Bot) close() {
	b.shut()
	b.intake.drain(graceFor, time.Second)
	stop := time.AfterFunc(graceFor, b.end)
	defer stop.Stop()
	b.jobs.Wait()
	b.end()
}

// sweep does what nobody nudged: cards that are not up to date, and what a
// process that died has heard.
func (b *Bot) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := b.Sweep(ctx); err != nil && ctx.Err() == nil {
			b.Log.WarnContext(ctx, "looking for what is to be shown failed; trying again", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Sweep looks once for what is due.
func (b *Bot) Sweep(ctx context.Context) error {
	if err := b.forgetForms(ctx); err != nil {
		return err
	}
	if b.ReadOnly {
		return nil
	}
	account, err := b.Account(ctx)
	if err != nil {
		return err
	}
	if err := b.leftBehind(ctx, account); err != nil {
		return err
	}
	now, err := b.Notes.Now(ctx)
	if err != nil {
		return err
	}
	due, err := b.Notes.Notes(ctx, policy.ToldScope(account), now, sweepMost)
	for _, n := range due {
		b.poke(n.Key)
	}
	return err
}

// poke brings the cards of a request up to date soon.
func (b *Bot) poke(id string) {
	b.spawn(func(ctx context.Context) {
		if _, err := b.Tell(ctx, id); err != nil {
			b.Log.WarnContext(ctx, "a card is not up to date yet", "request", id, "error", err)
		}
	})
}

// again brings the cards of a request up to date although there are no news: one
// that somebody has pressed was old.
func (b *Bot) again(id string) {
	b.spawn(func(ctx context.Context) {
		account, err := b.Account(ctx)
		if err != nil {
			return
		}
		n, err := b.Notes.Note(ctx, policy.ToldScope(account), id)
		if err == nil && n.DueAt.IsZero() {
			if n.DueAt, err = b.Notes.Now(ctx); err == nil {
				_, err = b.Notes.PutNote(ctx, n)
			}
		}
		if err == nil || policy.KindOf(err) == policy.Conflict {
			_, err = b.Tell(ctx, id)
		}
		if err != nil && policy.KindOf(err) != policy.NotFound {
			b.Log.WarnContext(ctx, "a card is not up to date yet", "request", id, "error", err)
		}
	})
}

// troubled notes why cards cannot be posted where people decide; "" where they can.
func (b *Bot) troubled(why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trouble = why
}

// Trouble tells why people may not see what waits for them, although all that
// comes in from Slack is taken; "" where nothing is known.
func (b *Bot) Trouble() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.trouble
}

// spawn runs work that goes on after an acknowledgement. A panic ends that work
// alone.
func (b *Bot) spawn(do func(ctx context.Context)) {
	b.jobs.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				b.Log.ErrorContext(b.life, "work for Slack panicked", "panic", policy.PanicText(p), "stack", string(debug.Stack()))
			}
		}()
		do(b.life)
	})
}

// enter tells whether nobody else in this process is at something; then leave
// must follow.
func (b *Bot) enter(what string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy[what] {
		return false
	}
	b.busy[what] = true
	return true
}

func (b *Bot) leave(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.busy, what)
}

func (b *Bot) isAt(what string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.busy[what]
}

// operation is one of the catalogue, by its name.
func (b *Bot) operation(name string) (policy.Descriptor, error) {
	all := b.Gate.Catalogue()
	n := slices.IndexFunc(all, func(d policy.Descriptor) bool { return d.Name == name })
	if n < 0 {
		return policy.Descriptor{}, policy.Errorf(policy.NotFound, "there is no operation %q here", policy.Clean(name, 40))
	}
	return all[n], nil
}

func (b *Bot) random(n int) string {
	raw := make([]byte, n)
	b.Random(raw)
	return policy.NewID(raw)
}
