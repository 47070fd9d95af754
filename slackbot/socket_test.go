package slackbot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// socketKit is Socket Mode in front of a test's receiver.
type socketKit struct {
	transportRun
	log   transportLog
	in    *intake
	board socketBoard
	stop  context.CancelFunc
	ended chan error

	api    *slack.Client
	dialer *websocket.Dialer
}

// newSocketKit runs Socket Mode until stop.
func newSocketKit(ctx context.Context, api *slack.Client, dialer *websocket.Dialer, connections int, now func() time.Time) *socketKit {
	k := &socketKit{ended: make(chan error, 1), api: api, dialer: dialer}
	k.in = newIntake(ctx, intakeOptions{Now: now, Log: k.log.logger()})
	ctx, k.stop = context.WithCancel(ctx)
	go func() {
		k.ended <- runSockets(ctx, socketOptions{
			API: api, Dialer: dialer, Connections: connections, Intake: k.in, Board: &k.board, Now: now, Log: k.log.logger(),
		}, k.receive)
	}()
	return k
}

// end stops and waits.
func (k *socketKit) end(t testing.TB) {
	t.Helper()
	k.stop()
	assert.NoError(t, <-k.ended)
	assert.Zero(t, k.in.drain(time.Hour, 0))
}

// slackAndSockets are a workspace and connections to it over real sockets.
func slackAndSockets(t *testing.T, connections int) (*slackfake.Fake, *slack.Client, *socketKit) {
	t.Helper()
	f, api := transportFake(t, slackfake.Options{Limits: slackfake.NoLimits()})
	k := newSocketKit(t.Context(), api, nil, connections, f.Now)
	t.Cleanup(func() { k.end(t) })
	require.NoError(t, f.AwaitSockets(t.Context(), connections))
	return f, api, k
}

// bubbleSockets has a Slack and connections to it in a bubble.
func bubbleSockets(t *testing.T, at http.Handler, connections int, answer receiver, run func(t *testing.T, k *socketKit)) {
	t.Helper()
	wire := slackfake.NewWire()
	server := &http.Server{Handler: at, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(wire) }()
	client := wire.Client()
	api := slack.New(slackfake.DefaultBotToken, slack.OptionAPIURL("http://slack.test/api/"),
		slack.OptionAppLevelToken(slackfake.DefaultAppToken), slack.OptionHTTPClient(client))
	k := newSocketKit(t.Context(), api, &websocket.Dialer{NetDialContext: wire.DialContext}, connections, time.Now)
	k.mu.Lock()
	k.answer = answer
	k.mu.Unlock()
	run(t, k)
	k.stop()
	k.in.drain(time.Hour, 0)
	if f, ok := at.(*slackfake.Fake); ok {
		f.Close()
	}
	client.CloseIdleConnections()
	require.NoError(t, server.Close())
	time.Sleep(2 * time.Hour) // what is left of a Slack without manners
}

// bubbleFake is a workspace for bubbleSockets.
func bubbleFake(limits map[string]slackfake.Limit) *slackfake.Fake {
	f := slackfake.New(slackfake.Options{Now: time.Now, Limits: limits})
	f.SetURL("http://slack.test")
	return f
}

func TestEveryKindOverSockets(t *testing.T) {
	f, api, k := slackAndSockets(t, 2)
	everyKind(t, f, api, &k.transportRun, viaSocket)
	got := k.board.status()
	assert.Equal(t, transportStatus{Connected: 2, LastEnvelope: f.Now()}, got)
}

func TestAnEnvelopeThatComesAgainIsAcknowledgedAlike(t *testing.T) {
	once := func(context.Context, delivery) json.RawMessage {
		time.Sleep(2 * time.Second)
		return json.RawMessage(`{"response_type":"ephemeral","text":"once"}`)
	}
	synctest.Test(t, func(t *testing.T) {
		f := bubbleFake(nil)
		bubbleSockets(t, f, 2, once, func(t *testing.T, k *socketKit) {
			require.NoError(t, f.AwaitSockets(t.Context(), 2))
			d := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x")
			synctest.Wait()
			// One of the two it came by; then it comes by the other.
			for _, s := range f.Sockets() {
				s.Drop()
				require.NoError(t, f.AwaitSockets(t.Context(), 2))
			}
			out := d.Wait()
			assert.True(t, out.Acked)
			assert.Greater(t, out.Attempts, 1)
			assert.Equal(t, 2*time.Second, out.Took)
			assert.Len(t, k.all(), 1)
			require.Len(t, f.Ephemerals(slackfake.Ada), 1)
			assert.Equal(t, "once", f.Ephemerals(slackfake.Ada)[0].Text)

			f.Inject(slackfake.Fault{Name: slackfake.Twice, Times: 2})
			assert.True(t, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "twice").Wait().Acked)
			assert.True(t, f.User(slackfake.Ada).Mention(slackfake.Ops, "", "twice").Wait().Acked)
			time.Sleep(time.Minute)
			assert.Len(t, k.all(), 3)
			assert.Empty(t, f.Violations())
		})
	})
}

func TestALostAcknowledgementRunsNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := bubbleFake(nil)
		bubbleSockets(t, f, 2, nil, func(t *testing.T, k *socketKit) {
			require.NoError(t, f.AwaitSockets(t.Context(), 2))
			f.Inject(slackfake.Fault{Name: slackfake.LoseAck, Times: 2})
			out := f.User(slackfake.Ada).Mention(slackfake.Ops, "", "x").Wait()
			assert.True(t, out.Acked)
			assert.Equal(t, 3, out.Attempts)
			assert.Len(t, k.all(), 1)
		})
	})
}

// refreshed types 10 commands a second for a minute while Slack refreshes the oldest
// connection, or drops it, every 5 s. It returns how many commands failed, and how
// many ran.
func refreshed(t *testing.T, connections int, drop bool) (failed, sent, ran int) {
	synctest.Test(t, func(t *testing.T) {
		f := bubbleFake(slackfake.NoLimits())
		bubbleSockets(t, f, connections, nil, func(t *testing.T, k *socketKit) {
			require.NoError(t, f.AwaitSockets(t.Context(), connections))
			next := time.Now().Add(5 * time.Second)
			for end := time.Now().Add(time.Minute); time.Now().Before(end); sent++ {
				if open := f.Sockets(); !time.Now().Before(next) && len(open) > 0 {
					next = next.Add(5 * time.Second)
					if drop {
						open[0].Drop()
					} else {
						open[0].Disconnect("refresh_requested")
					}
				}
				if !f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", fmt.Sprint(sent)).Wait().Acked {
					failed++
				}
				time.Sleep(100 * time.Millisecond)
			}
			ran = len(k.all())
			for _, v := range f.Violations() {
				t.Error(v)
			}
		})
	})
	return failed, sent, ran
}

func TestARefreshLosesNothing(t *testing.T) {
	for _, n := range []int{1, 2} {
		failed, sent, ran := refreshed(t, n, false)
		assert.Zero(t, failed, "%d connections: the next one is open before the old one ends", n)
		assert.Equal(t, sent, ran)
	}
}

func TestADropLosesNothingWithTwoConnections(t *testing.T) {
	failed, sent, ran := refreshed(t, 2, true)
	assert.Zero(t, failed)
	assert.Equal(t, sent, ran)
	failed, _, _ = refreshed(t, 1, true)
	assert.Positive(t, failed, "the control: with one, what is typed meanwhile is lost")
	t.Logf("with one connection %d of %d are lost", failed, sent)
}

func TestTheNextConnectionIsOpenedBeforeTheOldOneEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := bubbleFake(nil)
		bubbleSockets(t, f, 1, nil, func(t *testing.T, k *socketKit) {
			require.NoError(t, f.AwaitSockets(t.Context(), 1))
			time.Sleep(time.Hour)
			f.Sockets()[0].Disconnect("warning")
			synctest.Wait()
			require.Len(t, f.Sockets(), 2, "at once")
			assert.Equal(t, 2, k.board.status().Connected)
			for i := range 20 {
				assert.True(t, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", fmt.Sprint(i)).Wait().Acked)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			assert.Len(t, f.Sockets(), 1)
			assert.Equal(t, 2, f.Sockets()[0].Number)
			assert.Equal(t, 1, k.board.status().Connected)
			assert.Zero(t, k.board.status().Others)
			assert.Empty(t, k.board.status().LastError)
		})
	})
}

func TestEveryAcknowledgementIsInTimeWhileReceiversHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := bubbleFake(nil)
		hangs := func(ctx context.Context, _ delivery) json.RawMessage {
			time.Sleep(time.Minute)
			assert.NoError(t, ctx.Err())
			return json.RawMessage(`{"text":"late"}`)
		}
		bubbleSockets(t, f, 2, hangs, func(t *testing.T, k *socketKit) {
			require.NoError(t, f.AwaitSockets(t.Context(), 2))
			const n = 1000 // more than run at a time
			var all []*slackfake.Delivery
			for i := range n {
				all = append(all, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", fmt.Sprint(i)))
			}
			for _, d := range all {
				out := d.Wait()
				assert.True(t, out.Acked)
				assert.LessOrEqual(t, out.Took, answerWithin)
			}
			assert.Empty(t, f.Violations())
			assert.Zero(t, k.in.drain(time.Hour, 0))
			assert.Len(t, k.all(), n, "and each is worked on")
			assert.Empty(t, f.Ephemerals(slackfake.Ada))
		})
	})
}

func TestAnswersThatSlackWouldDropAreReplaced(t *testing.T) {
	f, api, k := slackAndSockets(t, 2)
	ada := f.User(slackfake.Ada)
	for _, row := range []struct {
		ack   string
		shown int
	}{
		{`{"response_type":"ephemeral","text":"` + strings.Repeat("x", 19_000) + `"}`, 1},
		{`{"response_type":"ephemeral","text":"` + strings.Repeat("x", 20_000) + `"}`, 1},
		{`{"response_type":"ephemeral","text":"` + strings.Repeat("x", 100_000) + `"}`, 1},
		{`{"text":`, 1},
		{`{"response_type":"ephemeral","text":"short"}`, 2},
	} {
		k.mu.Lock()
		k.answer = func(context.Context, delivery) json.RawMessage { return json.RawMessage(row.ack) }
		k.mu.Unlock()
		assert.True(t, ada.Slash(slackfake.Ops, "/vps", "x").Wait().Acked)
		assert.Len(t, f.Ephemerals(slackfake.Ada), row.shown)
	}
	assert.True(t, ada.Click(transportCard(t, f, api), "approve").Wait().Acked, "which takes no answer")
	assert.Empty(t, f.Violations())
	assert.Equal(t, 3, strings.Count(k.log.String(), "too large or no JSON"))
	assert.Equal(t, 1, strings.Count(k.log.String(), "this takes none"))
}

// firstBytes keeps the first byte of everything written: of a frame it says whether
// it is whole.
type firstBytes struct {
	net.Conn
	mu   sync.Mutex
	seen []byte
}

func (c *firstBytes) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.seen = append(c.seen, p[0])
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func TestALongAnswerIsOneFrame(t *testing.T) {
	f, api := transportFake(t, slackfake.Options{})
	var conn *firstBytes
	dialer := &websocket.Dialer{NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		conn = &firstBytes{Conn: c}
		return conn, err
	}}
	k := newSocketKit(t.Context(), api, dialer, 1, f.Now)
	k.mu.Lock()
	k.answer = func(context.Context, delivery) json.RawMessage {
		return json.RawMessage(`{"response_type":"ephemeral","text":"` + strings.Repeat("x", 19_000) + `"}`)
	}
	k.mu.Unlock()
	require.NoError(t, f.AwaitSockets(t.Context(), 1))
	require.True(t, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x").Wait().Acked)
	assert.Len(t, f.Ephemerals(slackfake.Ada), 1)
	k.end(t)
	const get, whole, end = 'G', 0x81, 0x88
	assert.Equal(t, []byte{get, whole, end}, conn.seen, "Slack does not put fragments together")
}

func TestOverSocketsAPanicIsAnErrorForPeopleAndNotForEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := bubbleFake(nil)
		bubbleSockets(t, f, 2, func(context.Context, delivery) json.RawMessage { panic("hush") }, func(t *testing.T, k *socketKit) {
			require.NoError(t, f.AwaitSockets(t.Context(), 2))
			assert.Equal(t, slackfake.OperationTimeout, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x").Wait().Error)
			out := f.User(slackfake.Ada).Mention(slackfake.Ops, "", "x").Wait()
			assert.True(t, out.Acked)
			assert.Equal(t, 1, out.Attempts)
			assert.Len(t, k.all(), 2)
		})
	})
}

func TestStoppingGivesTheAcknowledgementsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := bubbleFake(nil)
		slow := func(ctx context.Context, _ delivery) json.RawMessage {
			time.Sleep(2 * time.Second)
			assert.NoError(t, ctx.Err())
			return json.RawMessage(`{"text":"done"}`)
		}
		bubbleSockets(t, f, 2, slow, func(t *testing.T, k *socketKit) {
			require.NoError(t, f.AwaitSockets(t.Context(), 2))
			d := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x")
			synctest.Wait()
			k.stop()
			assert.True(t, d.Wait().Acked)
			assert.Len(t, f.Ephemerals(slackfake.Ada), 1)
			require.NoError(t, <-k.ended)
			synctest.Wait()
			assert.Empty(t, f.Sockets())
			assert.Equal(t, 0, k.board.status().Connected)
			assert.Empty(t, k.board.status().LastError)
		})
	})
}

func TestARefusedTokenSaysWhatToCorrect(t *testing.T) {
	for code, hint := range map[string]string{
		"invalid_auth": "Generate", "token_revoked": "Generate", "not_allowed_token_type": "Socket Mode", "missing_scope": "connections:write",
	} {
		f, api := transportFake(t, slackfake.Options{})
		f.RevokeAppToken(code)
		k := newSocketKit(t.Context(), api, nil, 2, f.Now)
		err := <-k.ended
		var e *policy.Error
		require.ErrorAs(t, err, &e, code)
		assert.Equal(t, policy.Unavailable, e.Kind)
		assert.Contains(t, e.Message, code)
		assert.Contains(t, e.Hint, "VPSGUARD_SLACK_APP_TOKEN")
		assert.Contains(t, e.Hint, hint)
		assert.Contains(t, k.board.status().LastError, code)
		assert.NotContains(t, err.Error()+k.log.String()+k.board.status().LastError, f.AppToken())
		k.stop()
	}
}

func TestARefusalEndsNothingWhileAConnectionIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := bubbleFake(nil)
		bubbleSockets(t, f, 2, nil, func(t *testing.T, k *socketKit) {
			require.NoError(t, f.AwaitSockets(t.Context(), 2))
			f.RevokeAppToken("invalid_auth")
			f.Sockets()[0].Drop()
			time.Sleep(5 * time.Minute)
			assert.True(t, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x").Wait().Acked)
			assert.Contains(t, k.board.status().LastError, "invalid_auth")
			f.Sockets()[0].Drop()
			var e *policy.Error
			require.ErrorAs(t, <-k.ended, &e)
		})
	})
}

func TestConnectionsOfOthersAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := bubbleFake(nil)
		bubbleSockets(t, f, 2, nil, func(t *testing.T, k *socketKit) {
			require.NoError(t, f.AwaitSockets(t.Context(), 2))
			synctest.Wait()
			assert.Equal(t, transportStatus{Connected: 2}, k.board.status())
			other := newSocketKit(t.Context(), k.api, k.dialer, 1, time.Now)
			require.NoError(t, f.AwaitSockets(t.Context(), 3))
			f.Sockets()[0].Drop()
			require.NoError(t, f.AwaitSockets(t.Context(), 3))
			synctest.Wait()
			assert.Equal(t, transportStatus{Connected: 2, Others: 1}, k.board.status())
			assert.Contains(t, k.log.String(), "another program uses the same Slack app")
			other.end(t)
		})
	})
}

// rawSlack is a Slack without manners, for what slackfake never does.
type rawSlack struct {
	mu    sync.Mutex
	opens []time.Time
	links int                                     // open now
	most  int                                     // at a time
	open  func(w http.ResponseWriter, n int) bool // nil: all may
	link  func(n int, c *websocket.Conn)
}

func (s *rawSlack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if r.URL.Path == "/api/apps.connections.open" {
		s.opens = append(s.opens, time.Now())
	}
	n := len(s.opens)
	s.mu.Unlock()
	switch {
	case r.URL.Path == "/link":
		c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err == nil {
			s.count(1)
			s.link(n, c)
			s.count(-1)
			_ = c.Close()
		}
	case s.open == nil || s.open(w, n):
		_, _ = w.Write([]byte(`{"ok":true,"url":"ws://slack.test/link?ticket=hush"}`))
	}
}

func (s *rawSlack) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links += n
	s.most = max(s.most, s.links)
}

// gaps are the times between opens.
func (s *rawSlack) gaps() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []time.Duration
	for i := 1; i < len(s.opens); i++ {
		out = append(out, s.opens[i].Sub(s.opens[i-1]))
	}
	return out
}

var rawHello = map[string]any{"type": "hello", "num_connections": 1}

// readAll reads until the connection ends.
func readAll(c *websocket.Conn) {
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			return
		}
	}
}

func TestOpensAreThrottled(t *testing.T) {
	doubling := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second}
	for name, s := range map[string]*rawSlack{
		"accepted and closed at once": {link: func(int, *websocket.Conn) {}},
		"greeted and closed at once":  {link: func(_ int, c *websocket.Conn) { _ = c.WriteJSON(rawHello) }},
		"greeted and sent away": {link: func(_ int, c *websocket.Conn) {
			_ = c.WriteJSON(rawHello)
			_ = c.WriteJSON(map[string]any{"type": "disconnect", "reason": "refresh_requested"})
			readAll(c)
		}},
		"an error of Slack's": {open: func(w http.ResponseWriter, _ int) bool {
			_, _ = w.Write([]byte(`{"ok":false,"error":"internal_error"}`))
			return false
		}},
		"status 503": {open: func(w http.ResponseWriter, _ int) bool { w.WriteHeader(503); return false }},
		"no address": {open: func(w http.ResponseWriter, _ int) bool {
			_, _ = w.Write([]byte(`{"ok":true,"url":"%zz hush"}`))
			return false
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bubbleSockets(t, s, 1, nil, func(t *testing.T, k *socketKit) {
					time.Sleep(100 * time.Second)
					assert.Equal(t, doubling, s.gaps())
					assert.NotContains(t, k.log.String(), "hush", "the address is a ticket")
					assert.LessOrEqual(t, s.most, 2, "one, and one on its way out")
					if strings.HasPrefix(name, "greeted and closed") {
						assert.Contains(t, k.board.status().LastError, "a connection was lost")
					}
				})
			})
		})
	}
}

func TestAConnectionThatLastedIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &rawSlack{link: func(n int, c *websocket.Conn) {
			_ = c.WriteJSON(rawHello)
			if n%2 == 0 {
				time.Sleep(healthyAfter)
			}
		}}
		bubbleSockets(t, s, 1, nil, func(t *testing.T, _ *socketKit) {
			time.Sleep(40 * time.Second)
			assert.Equal(t, []time.Duration{time.Second, 10 * time.Second, time.Second, 10 * time.Second, time.Second, 10 * time.Second, time.Second}, s.gaps())
		})
	})
}

func TestRetryAfterIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &rawSlack{
			open: func(w http.ResponseWriter, n int) bool {
				if n == 1 {
					w.Header().Set("Retry-After", "77")
					w.WriteHeader(http.StatusTooManyRequests)
				}
				return n > 1
			},
			link: func(_ int, c *websocket.Conn) { _ = c.WriteJSON(rawHello); readAll(c) },
		}
		bubbleSockets(t, s, 1, nil, func(t *testing.T, _ *socketKit) {
			time.Sleep(90 * time.Second)
			assert.Equal(t, []time.Duration{77 * time.Second}, s.gaps())
		})
	})
}

func TestASilentConnectionIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &rawSlack{link: func(n int, c *websocket.Conn) {
			if n != 1 {
				_ = c.WriteJSON(rawHello)
			}
			readAll(c)
		}}
		bubbleSockets(t, s, 1, nil, func(t *testing.T, k *socketKit) {
			time.Sleep(75 * time.Second)
			assert.Equal(t, []time.Duration{openWithin, pingWithin, pingWithin}, s.gaps(), "first there is no hello, then there are no pings")
			assert.Contains(t, k.log.String(), "there was no ping")
		})
	})
}

func TestWhatCannotBeReadIsAcknowledged(t *testing.T) {
	acks := make(chan string, 20)
	send := []string{
		`{"envelope_id":"e1","type":"slash_commands","payload":"hush"}`,
		`{"envelope_id":"e2","type":"interactive","payload":null}`,
		`{"envelope_id":"e3","type":"hologram","payload":{"response_url":"hush"}}`,
		`{"envelope_id":"e4","type":"events_api"}`,
		`{"envelope_id":"e5","type":"interactive","retry_attempt":"hush","payload":{"type":"block_actions","trigger_id":7,"message":{"blocks":[{"type":"actions","elements":[{"type":"hologram"}]}]}}}`,
		`hush`,
		`{"type":"interactive","payload":{}}`,
		`{"envelope_id":"e6","type":"events_api","retry_attempt":2,"payload":{"type":"app_rate_limited"}}`,
	}
	synctest.Test(t, func(t *testing.T) {
		s := &rawSlack{link: func(_ int, c *websocket.Conn) {
			_ = c.WriteJSON(rawHello)
			for _, m := range send {
				_ = c.WriteMessage(websocket.TextMessage, []byte(m))
			}
			for {
				_, b, err := c.ReadMessage()
				if err != nil {
					return
				}
				acks <- string(b)
			}
		}}
		bubbleSockets(t, s, 1, nil, func(t *testing.T, k *socketKit) {
			synctest.Wait()
			got := map[string]bool{}
			for range len(acks) {
				got[<-acks] = true
			}
			want := map[string]bool{}
			for i := range 6 {
				want[fmt.Sprintf(`{"envelope_id":"e%d"}`, i+1)] = true
			}
			assert.Equal(t, want, got)
			require.Len(t, k.all(), 2, "the unknown element and the unknown event are the receiver's")
			for _, d := range k.all() {
				if d.Kind == kindEvent {
					assert.Equal(t, delivery{Kind: kindEvent, Key: "envelope:e6", Body: json.RawMessage(`{"type":"app_rate_limited"}`), Retry: true, Via: viaSocket}, d)
				} else {
					assert.Contains(t, string(d.Body), "hologram")
				}
			}
			assert.NotContains(t, k.log.String(), "hush")
			assert.Contains(t, k.log.String(), "envelope_id=e3")
		})
	})
}

func TestWhoDoesNotReadLosesTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &rawSlack{link: func(_ int, c *websocket.Conn) {
			_ = c.WriteJSON(rawHello)
			_ = c.WriteMessage(websocket.TextMessage, []byte(`{"envelope_id":"e1","type":"events_api","payload":{}}`))
			time.Sleep(time.Hour)
		}}
		bubbleSockets(t, s, 1, nil, func(t *testing.T, k *socketKit) {
			time.Sleep(writeWithin)
			synctest.Wait()
			assert.Contains(t, k.log.String(), "nobody reads at the other end")
			k.stop()
			time.Sleep(time.Hour)
		})
	})
}

func TestWhichErrorsAreARefusal(t *testing.T) {
	for _, row := range []struct {
		err  error
		want bool
	}{
		{slack.SlackErrorResponse{Err: "invalid_auth"}, true},
		{slack.SlackErrorResponse{Err: "internal_error"}, false},
		{slack.StatusCodeError{Code: http.StatusServiceUnavailable}, false},
		{fmt.Errorf("x: %w", slack.StatusCodeError{Code: http.StatusNotFound}), true},
		{errors.New("invalid_auth"), false},
	} {
		_, got := refusedToken(row.err)
		assert.Equal(t, row.want, got, row.err.Error())
	}
}
