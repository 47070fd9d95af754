package slackfake

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// What a Fake has from the start.
const (
	// DefaultBotToken is the app's bot token where Options name no other.
	DefaultBotToken = "xoxb-fake-7b1c64e02d95"
	// DefaultAppToken is the app-level token that opens Socket Mode.
	DefaultAppToken = "xapp-fake-20f8a95b3c61"
	// DefaultSecret signs requests to receivers that name no other.
	DefaultSecret = "8f742231b10e8888abcd99yyyzzz85a5"

	// Team is the workspace the app is installed in, and App the app.
	Team = "T0HOME"
	App  = "A0VPSGUARD"
	// Bot is the user the app acts as, BotID the same as a bot.
	Bot   = "U0VPSGUARD"
	BotID = "B0VPSGUARD"

	// Ada, Grace and Edsger are members of the workspace; Ops is a channel with all
	// of them and the app.
	Ada    = "U1"
	Grace  = "U2"
	Edsger = "U3"
	Ops    = "C1"
)

const (
	// AckWithin is how long an app may take to acknowledge.
	AckWithin = 3 * time.Second
	// TriggerLives is how long a trigger_id can be exchanged.
	TriggerLives = 3 * time.Second
	// ResponseURLLives is how long a response_url works.
	ResponseURLLives = 30 * time.Minute
	// ResponseURLUses is how often.
	ResponseURLUses = 5
	// WarnedBefore is the time between a disconnect message that warns and the end
	// of the connection.
	WarnedBefore = 10 * time.Second
	// MaxSockets is how many Socket Mode connections an app may have.
	MaxSockets = 10
	// MaxAck is the size from which on Slack drops an acknowledgement without a word.
	MaxAck = 20 * 1024
)

// Options are what a Fake can do without.
type Options struct {
	// Now is the clock. nil is a [Clock] that stands at Epoch; [Fake.Pass] moves it.
	Now func() time.Time
	// AfterFunc calls f when the clock has moved by d. nil goes with Now: the Clock's
	// own, or time.AfterFunc where Now is given.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
	// PingEvery is how often sockets are pinged, in real time; 0 means 5 s.
	PingEvery time.Duration

	// BotToken and AppToken are what calls must carry; "" means the defaults.
	BotToken, AppToken string
	// Scopes are what the bot token was granted; nil means everything the Fake knows.
	Scopes []string
	// Enterprise is the id of the organisation the workspace belongs to, "" for none.
	// Only then do payloads say is_enterprise_install.
	Enterprise string
	// Limits replaces rate limits, by method; "chat.postMessage" is counted for each
	// channel. A Limit without a Count is no limit.
	Limits map[string]Limit
	// EditWindow is how long messages may be edited, 0 for ever.
	EditWindow time.Duration
	// FreePlan has no user groups.
	FreePlan bool
	// Client sends HTTP deliveries; nil is a client of the Fake's own.
	Client *http.Client
}

// Fake is one Slack workspace with one app.
type Fake struct {
	o     Options
	clock *Clock
	// ctx ends with Close.
	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex
	users    map[string]*User
	channels map[string]*Channel
	groups   map[string]*Group
	scopes   []string
	revoked  string // what calls with the bot token are answered with
	noSocket string // what apps.connections.open is answered with

	messages   []*Message
	ephemerals []*Message
	views      map[string]*view
	triggers   map[string]*trigger
	responses  map[string]*responseURL
	// offered are the options a type-ahead menu has shown last.
	offered map[string][]map[string]any

	receiver  *Receiver
	sockets   []*socket
	tickets   map[string]bool // socket URLs not yet used
	nextUp    int             // of sockets, who is next
	opened    int
	pending   map[string]*Delivery
	delivered []*Delivery

	faults     []*Fault
	calls      []Call
	violations []Violation
	used       map[string][]time.Time // for rate limits
	blocked    map[string]ban         // by 429
	address    *url.URL
	// changed is closed and made anew whenever something happened.
	changed chan struct{}
	lastTS  int64
	ids     int
}

var _ http.Handler = (*Fake)(nil)

// New returns a workspace with three people, the app, and one channel with all of
// them.
func New(o Options) *Fake {
	f := &Fake{
		users: make(map[string]*User), channels: make(map[string]*Channel), groups: make(map[string]*Group),
		views: make(map[string]*view), triggers: make(map[string]*trigger), responses: make(map[string]*responseURL),
		changed: make(chan struct{}), offered: make(map[string][]map[string]any), tickets: make(map[string]bool), pending: make(map[string]*Delivery),
		used: make(map[string][]time.Time), blocked: make(map[string]ban),
	}
	if o.Now == nil {
		f.clock = NewClock(Epoch)
		o.Now = f.clock.Now
		if o.AfterFunc == nil {
			o.AfterFunc = f.clock.AfterFunc
		}
	}
	if o.AfterFunc == nil {
		o.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	if o.PingEvery == 0 {
		o.PingEvery = 5 * time.Second
	}
	if o.BotToken == "" {
		o.BotToken = DefaultBotToken
	}
	if o.AppToken == "" {
		o.AppToken = DefaultAppToken
	}
	if o.Client == nil {
		o.Client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	}
	f.o = o
	f.scopes = o.Scopes
	if f.scopes == nil {
		f.scopes = allScopes()
	}
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.seed()
	return f
}

func (f *Fake) seed() {
	f.AddUser(User{ID: Ada, Name: "ada", RealName: "Ada Byron", TZ: "Europe/London", Admin: true})
	f.AddUser(User{ID: Grace, Name: "grace", RealName: "Grace Hopper", TZ: "America/New_York"})
	f.AddUser(User{ID: Edsger, Name: "edsger", RealName: "Edsger Dijkstra", TZ: "Europe/Amsterdam"})
	f.AddUser(User{ID: Bot, Name: "vpsguard", RealName: "vpsguard", Bot: true})
	f.AddChannel(Channel{ID: Ops, Name: "ops", Members: []string{Ada, Grace, Edsger, Bot}})
}

// BotToken returns the token that Web API calls must carry.
func (f *Fake) BotToken() string { return f.o.BotToken }

// AppToken returns the token that apps.connections.open must carry.
func (f *Fake) AppToken() string { return f.o.AppToken }

// Now tells the Fake's time.
func (f *Fake) Now() time.Time { return f.o.Now() }

// Pass moves the Fake's own clock, see [Clock.Pass]. It panics where Options gave
// a clock.
func (f *Fake) Pass(d time.Duration) {
	if f.clock == nil {
		panic("slackfake: the clock was given in Options; move that one")
	}
	f.clock.Pass(d)
}

// Close ends all sockets and deliveries and waits for them.
func (f *Fake) Close() {
	f.stop()
	f.mu.Lock()
	for _, d := range f.pending {
		d.finish("closed")
	}
	for _, s := range slices.Clone(f.sockets) {
		s.close()
	}
	f.mu.Unlock()
	f.work.Wait()
	f.o.Client.CloseIdleConnections()
}

// ServeHTTP is the workspace as apps see it: /api/ is the Web API, /response/ the
// response URLs and /link/ the websockets.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.learn(r)
	switch {
	case strings.HasPrefix(r.URL.Path, "/api/"):
		f.api(w, r, strings.TrimPrefix(r.URL.Path, "/api/"))
	case strings.HasPrefix(r.URL.Path, "/response/"):
		f.response(w, r)
	case r.URL.Path == "/link/":
		f.link(w, r)
	default:
		http.NotFound(w, r)
	}
}

// Violation is something that an app on Slack must not do.
type Violation struct {
	At time.Time
	// Rule is a short name, such as "no-text" or "late-ack".
	Rule string
	// Detail says where and what.
	Detail string
}

// String is the violation in a line.
func (v Violation) String() string { return v.Rule + ": " + v.Detail }

// Violations returns what the app did wrong so far.
func (f *Fake) Violations() []Violation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Violation(nil), f.violations...)
}

// violate keeps a violation. The lock is held.
func (f *Fake) violate(rule, format string, args ...any) {
	f.violations = append(f.violations, Violation{At: f.o.Now(), Rule: rule, Detail: fmt.Sprintf(format, args...)})
	f.notify()
}

// id makes a new id. The lock is held.
func (f *Fake) id(prefix string) string {
	f.ids++
	return fmt.Sprintf("%s0%07X", prefix, f.ids)
}

// ts makes the timestamp of a new message, which is its id within a channel. No two
// are equal. The lock is held.
func (f *Fake) ts() string {
	f.lastTS = max(f.lastTS+1, f.o.Now().UnixMicro())
	return fmt.Sprintf("%d.%06d", f.lastTS/1_000_000, f.lastTS%1_000_000)
}
