package slackbot

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// desk is a workspace, and what the door asks it with.
type desk struct {
	fake   *slackfake.Fake
	c      *client
	people *People
	log    *lockedBuffer
}

// lockedBuffer is a log that many may write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (d *desk) connect(url string, h *http.Client, approvers []string) {
	d.log = &lockedBuffer{}
	d.c = newClient(clientOptions{
		Token: d.fake.BotToken(), URL: url, HTTP: h, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	d.people = newPeople(d.c, approvers)
}

// realDesk is a workspace on a real port, in real time.
func realDesk(t *testing.T, o slackfake.Options, approvers ...string) *desk {
	t.Helper()
	o.Now = time.Now
	d := &desk{fake: slackfake.New(o)}
	server := httptest.NewServer(d.fake)
	t.Cleanup(func() { d.fake.Close(); server.Close() })
	d.fake.SetURL(server.URL)
	d.connect(server.URL+"/api/", server.Client(), approvers)
	return d
}

// bubbleDesk is a workspace in a bubble, where time passes at once.
func bubbleDesk(t *testing.T, o slackfake.Options, approvers []string, run func(t *testing.T, d *desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(slackfake.Epoch)) // bubbles begin in 2000, when a ts had one digit less
		o.Now = time.Now
		d, wire := &desk{fake: slackfake.New(o)}, slackfake.NewWire()
		d.fake.SetURL("http://slack.test")
		server := &http.Server{Handler: d.fake, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(wire) }()
		h := wire.Client()
		d.connect("http://slack.test/api/", h, approvers)
		defer func() {
			d.fake.Close()
			h.CloseIdleConnections()
			assert.NoError(t, server.Close())
			synctest.Wait()
		}()
		run(t, d)
	})
}

func (d *desk) calls(method string) int { return len(d.fake.Calls(method)) }

// actor is somebody as the door would know them.
func (d *desk) actor(user string) policy.Actor {
	return policy.Actor{Door: policy.DoorSlack, Subject: slackfake.Team + ":" + user, Name: user, Vouched: vouchedSlack}
}

// unlimited has no rate limits.
func unlimited() slackfake.Options { return slackfake.Options{Limits: slackfake.NoLimits()} }

// peopleNobodyListensTo are all kinds of people who can do nothing.
var peopleNobodyListensTo = []struct {
	who  string
	user slackfake.User
	says string
}{
	{"a guest of several channels", slackfake.User{ID: "UGUEST", Guest: true}, "guests"},
	{"a guest of one channel", slackfake.User{ID: "UGUEST1", SingleChannelGuest: true}, "guests"},
	{"somebody seen through a shared channel", slackfake.User{ID: "USTRANGE", Stranger: true, Team: "T0OTHER"}, "only members"},
	{"a stranger whom Slack gives our workspace", slackfake.User{ID: "USTRANGE2", Stranger: true}, "only members"},
	{"a member of another workspace", slackfake.User{ID: "UOTHER", Team: "T0OTHER"}, "only members"},
	{"a bot", slackfake.User{ID: "UBOT", Bot: true}, "bots"},
	{"somebody whose account was deactivated", slackfake.User{ID: "UGONE", Deleted: true}, "deactivated"},
	{"somebody Slack does not show", slackfake.User{ID: "UHIDDEN", Hidden: true}, "only members"},
	{"an admin who is a guest all the same", slackfake.User{ID: "UADMING", Admin: true, Guest: true}, "guests"},
}

func TestEveryKindOfPersonWhoCanDoNothing(t *testing.T) {
	approvers := []string{"UNOBODY", slackfake.Bot, "SALL"}
	for _, row := range peopleNobodyListensTo {
		approvers = append(approvers, row.user.ID)
	}
	d := realDesk(t, unlimited(), approvers...)
	for _, row := range peopleNobodyListensTo {
		d.fake.AddUser(row.user)
		t.Run(row.who, func(t *testing.T) {
			_, err := d.people.Actor(t.Context(), slackfake.Team, "", row.user.ID)
			assert.Equal(t, policy.Forbidden, policy.KindOf(err))
			require.ErrorContains(t, err, row.says)
			err = d.people.Vouch(t.Context(), d.actor(row.user.ID))
			assert.Equal(t, policy.Forbidden, policy.KindOf(err), "not even when listed as an approver")
			require.ErrorContains(t, err, row.says)
		})
	}
	for _, user := range []string{"UNOBODY", slackfake.Bot, slackbotUser, "", "U1 ", "u1", "B0VPSGUARD", "SALL", "U1:U2", "U1\n"} {
		_, err := d.people.Actor(t.Context(), slackfake.Team, "", user)
		assert.Equal(t, policy.Forbidden, policy.KindOf(err), "%q", user)
		assert.Equal(t, policy.Forbidden, policy.KindOf(d.people.Vouch(t.Context(), d.actor(user))), "%q", user)
	}
	for _, from := range [][2]string{{"T0OTHER", ""}, {"", ""}, {"T0OTHER", "E0OTHER"}, {slackfake.Team, "E0OTHER"}, {"", "E0OTHER"}} {
		_, err := d.people.Actor(t.Context(), from[0], from[1], slackfake.Ada)
		assert.Equal(t, policy.Forbidden, policy.KindOf(err), "signed as of %q", from)
	}
	assert.Empty(t, d.log.String())
}

func TestAMemberIsKnownByWorkspaceAndID(t *testing.T) {
	d := realDesk(t, unlimited(), slackfake.Ada)
	d.fake.ChangeUser(slackfake.Ada, func(u *slackfake.User) { u.Name = "ada\u202e\n<!channel>" })
	a, err := d.people.Actor(t.Context(), slackfake.Team, "", slackfake.Ada)
	require.NoError(t, err)
	assert.Equal(t, policy.Actor{
		Door: policy.DoorSlack, Subject: "T0HOME:U1", Name: "ada <!channel>", Vouched: "a request signed by Slack",
	}, a)
	assert.NoError(t, d.people.Vouch(t.Context(), a))
}

func TestInAnOrganisationPeopleAreKnownByIt(t *testing.T) {
	o := unlimited()
	o.Enterprise = "E0HOME"
	d := realDesk(t, o, slackfake.Ada)
	for _, from := range [][2]string{{slackfake.Team, "E0HOME"}, {slackfake.Team, ""}, {"E0HOME", ""}} {
		a, err := d.people.Actor(t.Context(), from[0], from[1], slackfake.Ada)
		require.NoError(t, err, "%q", from)
		assert.Equal(t, "E0HOME:U1", a.Subject)
		assert.NoError(t, d.people.Vouch(t.Context(), a))
	}
	assert.Equal(t, policy.Forbidden, policy.KindOf(d.people.Vouch(t.Context(), d.actor(slackfake.Ada))),
		"the same person is not known under a second key")
	for _, from := range [][2]string{{slackfake.Team, "E0OTHER"}, {"T0SISTER", ""}, {"T0SISTER", "E0HOME"}, {"", ""}} {
		_, err := d.people.Actor(t.Context(), from[0], from[1], slackfake.Ada)
		assert.Equal(t, policy.Forbidden, policy.KindOf(err), "%q", from)
	}
}

func TestWhoBelongsToAWorkspace(t *testing.T) {
	alone := identity{Team: "T1"}
	member := identity{Team: "T1", Enterprise: "E1"}
	wide := identity{Team: "E1", Enterprise: "E1"}
	in := func(org string, teams ...string) slack.EnterpriseUser {
		return slack.EnterpriseUser{EnterpriseID: org, Teams: teams}
	}
	for _, row := range []struct {
		name string
		home identity
		user slack.User
		ok   bool
	}{
		{"a member", alone, slack.User{TeamID: "T1"}, true},
		{"of another workspace", alone, slack.User{TeamID: "T2"}, false},
		{"of an unknown one", alone, slack.User{}, false},
		{"of an organisation, where we are in none", alone, slack.User{TeamID: "T2", Enterprise: in("E1", "T1")}, false},
		{"of this and another workspace of the organisation", member, slack.User{TeamID: "T2", Enterprise: in("E1", "T2", "T1")}, true},
		{"of another workspace of the organisation only", member, slack.User{TeamID: "T2", Enterprise: in("E1", "T2")}, false},
		{"of another organisation that names our workspace", member, slack.User{TeamID: "T2", Enterprise: in("E2", "T1")}, false},
		{"of any workspace, where the app is the organisation's", wide, slack.User{TeamID: "T9", Enterprise: in("E1", "T9")}, true},
	} {
		assert.Equal(t, row.ok, row.home.has(&row.user), row.name)
	}
	for _, u := range []slack.User{{IsWorkflowBot: true}, {IsConnectorBot: true}, {ID: slackbotUser}} {
		u.TeamID = "T1"
		assert.Equal(t, policy.Forbidden, policy.KindOf(alone.admits(&u)))
	}
	assert.NoError(t, alone.admits(&slack.User{ID: "U1", TeamID: "T1", IsAppUser: true}), "that only means that they use the app")
}

func TestWhatIsKnownOfAPersonIsAMinuteOldAtMost(t *testing.T) {
	bubbleDesk(t, unlimited(), []string{slackfake.Ada}, func(t *testing.T, d *desk) {
		act := func() error {
			_, err := d.people.Actor(t.Context(), slackfake.Team, "", slackfake.Ada)
			return err
		}
		for range 59 {
			require.NoError(t, act())
			time.Sleep(time.Second)
		}
		assert.Equal(t, 1, d.calls("users.info"))
		assert.Equal(t, 1, d.calls("auth.test"))
		d.fake.ChangeUser(slackfake.Ada, func(u *slackfake.User) { u.Deleted = true })
		assert.NoError(t, act(), "within the minute")
		time.Sleep(time.Second)
		assert.Equal(t, policy.Forbidden, policy.KindOf(act()), "and no longer")
		d.fake.ChangeUser(slackfake.Ada, func(u *slackfake.User) { u.Deleted = false })
		time.Sleep(time.Minute)
		require.NoError(t, act())
		d.fake.ChangeUser(slackfake.Ada, func(u *slackfake.User) { u.Guest = true })
		require.NoError(t, act())
		assert.Equal(t, policy.Forbidden, policy.KindOf(d.people.Vouch(t.Context(), d.actor(slackfake.Ada))), "confirming asks Slack now")
		assert.Equal(t, policy.Forbidden, policy.KindOf(act()), "and what it learned holds everywhere")
	})
}

func TestWhatSlackDoesNotSayIsRefused(t *testing.T) {
	for _, method := range []string{"auth.test", "users.info"} {
		for _, fault := range []string{
			slackfake.InternalError, slackfake.Error500, slackfake.Reset, slackfake.Hang, slackfake.CutJSON, slackfake.HTML,
			slackfake.RateLimited, slackfake.Refused,
		} {
			t.Run(method+" "+fault, func(t *testing.T) {
				bubbleDesk(t, unlimited(), []string{slackfake.Ada}, func(t *testing.T, d *desk) {
					d.fake.Inject(slackfake.Fault{Name: fault, Method: method, Code: "some_new_error", RetryAfter: 20 * time.Second})
					a, err := d.people.Actor(t.Context(), slackfake.Team, "", slackfake.Ada)
					assert.Equal(t, policy.Unavailable, policy.KindOf(err))
					assert.Empty(t, a)
					require.ErrorContains(t, err, "nothing was done")
					err = d.people.Vouch(t.Context(), d.actor(slackfake.Ada))
					assert.Equal(t, policy.Unavailable, policy.KindOf(err))
					d.fake.Heal()
					time.Sleep(20 * time.Second)
					_, err = d.people.Actor(t.Context(), slackfake.Team, "", slackfake.Ada)
					assert.NoError(t, err, "the next one asks again")
					assert.NoError(t, d.people.Vouch(t.Context(), d.actor(slackfake.Ada)))
				})
			})
		}
	}
}

func TestAnAnswerAboutSomebodyElseProvesNothing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := map[string]string{
			"/api/auth.test":  `{"ok":true,"team_id":"T0HOME","bot_id":"B1","user_id":"U9"}`,
			"/api/users.info": `{"ok":true,"user":{"id":"U2","team_id":"T0HOME"}}`,
		}[r.URL.Path]
		_, _ = w.Write([]byte(body))
	}))
	defer server.Close()
	p := NewPeople(PeopleOptions{Token: "xoxb-1", URL: server.URL + "/api", HTTP: server.Client(), Now: time.Now, Approvers: []string{"U1"}})
	_, err := p.Actor(t.Context(), "T0HOME", "", "U1")
	assert.Equal(t, policy.Unavailable, policy.KindOf(err))
	err = p.Vouch(t.Context(), policy.Actor{Door: policy.DoorSlack, Subject: "T0HOME:U1"})
	assert.Equal(t, policy.Unavailable, policy.KindOf(err))
}

func TestAnEmptyAnswerProvesNothing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) }))
	defer server.Close()
	c := newClient(clientOptions{Token: "xoxb-1", URL: server.URL, HTTP: server.Client(), Now: time.Now})
	_, err := c.who(t.Context())
	assert.Equal(t, codeUnreadable, slackCode(err))
	_, err = c.post(t.Context(), "C1", "", message{Text: "x"})
	assert.Equal(t, maybeSent, reached(err))
	assert.Equal(t, maybeSent, reached(c.update(t.Context(), "C1", "1.1", message{Text: "x"})))
	assert.Equal(t, maybeSent, reached(c.ephemeral(t.Context(), "C1", "", "U1", message{Text: "x"})))
	_, err = c.openView(t.Context(), "t", slack.ModalViewRequest{})
	assert.Equal(t, maybeSent, reached(err))
	assert.Equal(t, maybeSent, reached(c.respond(t.Context(), server.URL+"/r", message{Text: "x"}, false)))
}

func TestACallerWhoLeavesDoesNotEndTheRead(t *testing.T) {
	bubbleDesk(t, unlimited(), []string{slackfake.Ada}, func(t *testing.T, d *desk) {
		act := func(ctx context.Context) error {
			_, err := d.people.Actor(ctx, slackfake.Team, "", slackfake.Ada)
			return err
		}
		d.fake.Inject(slackfake.Fault{Name: slackfake.Slow, Method: "users.info", Delay: 2 * time.Second, Times: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var work sync.WaitGroup
		work.Go(func() {
			time.Sleep(time.Second / 2)
			assert.NoError(t, act(t.Context()), "who waits for the next read gets it")
		})
		assert.Equal(t, policy.Unavailable, policy.KindOf(act(ctx)))
		work.Wait()
		assert.Equal(t, 2, d.calls("users.info"))
		assert.NoError(t, act(t.Context()))
		assert.Equal(t, 2, d.calls("users.info"), "and it was kept")
	})
}

// A read that was under way when somebody asks may be older than what they want to
// know, so it is not theirs.
func TestNobodyGetsAReadThatBeganBeforeTheyAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s flights[time.Time]
		var reads atomic.Int32
		read := func(context.Context) (time.Time, error) {
			reads.Add(1)
			began := time.Now()
			time.Sleep(time.Second)
			return began, nil
		}
		var work sync.WaitGroup
		for i := range 1000 {
			work.Go(func() {
				time.Sleep(time.Duration(i) * 2 * time.Millisecond) // for 2 s
				asked := time.Now()
				began, err := s.get(t.Context(), "x", read)
				assert.NoError(t, err)
				assert.False(t, began.Before(asked))
				assert.LessOrEqual(t, time.Since(asked), 2*time.Second)
			})
		}
		work.Wait()
		assert.EqualValues(t, 3, reads.Load())
		synctest.Wait()
		assert.Empty(t, s.lines, "nothing is kept")
	})
}

func TestAReadThatPanicsIsAnError(t *testing.T) {
	var s flights[int]
	_, err := s.get(t.Context(), "x", func(context.Context) (int, error) { panic("seed-secret") })
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "seed-secret")
	v, err := s.get(t.Context(), "x", func(context.Context) (int, error) { return 7, nil })
	assert.NoError(t, err)
	assert.Equal(t, 7, v)
}

func TestThoseRememberedAreBounded(t *testing.T) {
	d := realDesk(t, unlimited())
	for i := range maxKnown {
		d.people.known[fmt.Sprint(i)] = profile{user: &slack.User{}, at: time.Now()}
	}
	_, err := d.people.Actor(t.Context(), slackfake.Team, "", slackfake.Ada)
	require.NoError(t, err)
	assert.Len(t, d.people.known, 1)
}
