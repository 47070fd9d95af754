package slackfake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// raw is a Socket Mode connection without a client around it.
type raw struct {
	t    testing.TB
	conn *websocket.Conn
}

func dial(t testing.TB, f *slackfake.Fake, api *slack.Client) (raw, map[string]any) {
	t.Helper()
	_, address, err := api.StartSocketModeContext(within(t))
	require.NoError(t, err)
	conn, resp, err := websocket.DefaultDialer.Dial(address, nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	t.Cleanup(func() { _ = conn.Close() })
	r := raw{t, conn}
	hello := r.read()
	_, _, err = websocket.DefaultDialer.Dial(address, nil)
	require.Error(t, err, "an address works once")
	return r, hello
}

func (r raw) read() map[string]any {
	r.t.Helper()
	require.NoError(r.t, r.conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, b, err := r.conn.ReadMessage()
	require.NoError(r.t, err)
	return decode(r.t, b)
}

func (r raw) write(v any) {
	r.t.Helper()
	b, err := json.Marshal(v)
	require.NoError(r.t, err)
	require.NoError(r.t, r.conn.WriteMessage(websocket.TextMessage, b))
}

func (r raw) ack(envelope map[string]any) {
	r.write(map[string]any{"envelope_id": envelope["envelope_id"]})
}

func TestAnEnvelopeGoesToExactlyOneConnection(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	a, hello := dial(t, f, api)
	assert.Equal(t, "hello", hello["type"])
	assert.InDelta(t, 1, hello["num_connections"], 0)
	assert.Equal(t, map[string]any{"app_id": slackfake.App}, hello["connection_info"])
	b, hello := dial(t, f, api)
	assert.InDelta(t, 2, hello["num_connections"], 0)

	var work sync.WaitGroup
	seen := make(chan any, 20)
	for _, r := range []raw{a, b} {
		work.Go(func() {
			for range 5 {
				e := r.read()
				seen <- e["envelope_id"]
				r.ack(e)
			}
		})
	}
	for i := range 10 {
		d := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", fmt.Sprint(i))
		out := d.Wait()
		assert.True(t, out.Acked)
		assert.Equal(t, 1, out.Attempts)
	}
	work.Wait()
	close(seen)
	ids := map[any]bool{}
	for id := range seen {
		ids[id] = true
	}
	assert.Len(t, ids, 10, "each once, and both connections had five")
	assert.Empty(t, f.Violations())
}

func TestWithoutAConnectionACommandFails(t *testing.T) {
	f, _ := serve(t, slackfake.Options{})
	out := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "help").Wait()
	assert.Equal(t, slackfake.DispatchFailed, out.Error)
}

func TestThreeSecondsToAcknowledge(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	got := make(chan socketmode.Event, 1)
	var client *socketmode.Client
	app(t, f, api, func(c *socketmode.Client, e socketmode.Event) {
		if e.Type == socketmode.EventTypeSlashCommand {
			client = c
			got <- e
		}
	})
	d := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "server list")
	e := <-got
	f.Pass(3*time.Second - 1)
	select {
	case <-d.Done():
		t.Fatal("it is not too late yet")
	default:
	}
	f.Pass(1)
	out := d.Wait()
	assert.False(t, out.Acked)
	assert.Equal(t, slackfake.OperationTimeout, out.Error)
	assert.Equal(t, []string{"no-ack"}, rules(f))

	require.NoError(t, client.Ack(*e.Request))
	require.NoError(t, f.Await(within(t), func() bool { return len(f.Violations()) == 2 }))
	assert.Equal(t, []string{"no-ack", "late-ack"}, rules(f))
	assert.Equal(t, out, d.Wait(), "and does not count")
}

func TestAcknowledgementsOf20KBAreDropped(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	r, _ := dial(t, f, api)
	d := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "help")
	e := r.read()
	answer := func(n int) map[string]any {
		return map[string]any{"envelope_id": e["envelope_id"], "payload": map[string]any{
			"response_type": "ephemeral", "text": strings.Repeat("x", n),
		}}
	}
	size := func(n int) int { b, _ := json.Marshal(answer(n)); return len(b) }
	fits := slackfake.MaxAck - 1 - size(0)
	r.write(answer(fits + 1))
	require.NoError(t, f.Await(within(t), func() bool { return len(f.Violations()) == 1 }))
	assert.Equal(t, []string{"ack-too-large"}, rules(f))
	assert.Empty(t, f.Ephemerals(slackfake.Ada))
	r.write(answer(fits))
	assert.True(t, d.Wait().Acked)
	require.Len(t, f.Ephemerals(slackfake.Ada), 1)
	assert.Len(t, f.Ephemerals(slackfake.Ada)[0].Text, fits)
}

func TestWhatIsUnderWayOnALostConnectionComesOverAnother(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	a, _ := dial(t, f, api)
	b, _ := dial(t, f, api)
	f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x")
	f.User(slackfake.Ada).Mention(slackfake.Ops, "", "x")
	ea, eb := a.read(), b.read()
	assert.NotEqual(t, ea["envelope_id"], eb["envelope_id"])
	require.NoError(t, a.conn.Close())
	again := b.read()
	assert.Equal(t, ea["envelope_id"], again["envelope_id"])
	assert.Equal(t, ea["payload"], again["payload"])
	assert.InDelta(t, 1, again["retry_attempt"], 0)
	assert.Equal(t, "connection_closed", again["retry_reason"])
	b.ack(again)
	b.ack(eb)
	for _, d := range f.Deliveries() {
		assert.True(t, d.Wait().Acked)
	}
	assert.Empty(t, f.Violations())
}

func TestEventsComeAgainCommandsDoNot(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	r, _ := dial(t, f, api)
	d := f.User(slackfake.Ada).Mention(slackfake.Ops, "", "x")
	first := r.read()
	assert.Equal(t, "events_api", first["type"])
	assert.InDelta(t, 0, first["retry_attempt"], 0)
	f.Pass(3 * time.Second)
	again := r.read()
	assert.Equal(t, first["payload"], again["payload"], "with the same event_id")
	assert.InDelta(t, 1, again["retry_attempt"], 0)
	assert.Equal(t, "timeout", again["retry_reason"])
	f.Pass(3*time.Second + time.Minute)
	assert.InDelta(t, 2, r.read()["retry_attempt"], 0)
	f.Pass(3*time.Second + 5*time.Minute)
	last := r.read()
	assert.InDelta(t, 3, last["retry_attempt"], 0)
	r.ack(last)
	out := d.Wait()
	assert.True(t, out.Acked)
	assert.Equal(t, 4, out.Attempts)
	assert.Equal(t, []string{"no-ack", "no-ack", "no-ack"}, rules(f))

	d = f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x")
	r.read()
	f.Pass(time.Hour)
	assert.Equal(t, 1, d.Wait().Attempts)
}

func TestDisconnectWarnsTenSecondsBefore(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	r, _ := dial(t, f, api)
	f.Sockets()[0].Disconnect("warning")
	m := r.read()
	assert.Equal(t, "disconnect", m["type"])
	assert.Equal(t, "warning", m["reason"])
	f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "still there")
	r.ack(r.read())
	f.Pass(10*time.Second - 1)
	assert.Len(t, f.Sockets(), 1)
	f.Pass(1)
	assert.Empty(t, f.Sockets())

	r, _ = dial(t, f, api)
	f.DisableSocketMode()
	assert.Equal(t, "link_disabled", r.read()["reason"])
	_, _, err := r.conn.ReadMessage()
	assert.Error(t, err, "and it is over")
	_, _, err = api.StartSocketModeContext(within(t))
	assert.Error(t, err)
}

func TestElevenConnectionsAreOneTooMany(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	for range 10 {
		_, hello := dial(t, f, api)
		require.Equal(t, "hello", hello["type"])
	}
	_, refused := dial(t, f, api)
	assert.Equal(t, "too_many_websockets", refused["reason"])
	assert.Len(t, f.Sockets(), 10)
}

func TestSlackGoComesBackAfterEachDisconnect(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	app(t, f, api, acks)
	app(t, f, api, acks)
	for round := range 4 {
		old := f.Sockets()[0]
		old.Disconnect("refresh_requested")
		require.NoError(t, f.Await(within(t), func() bool {
			now := f.Sockets()
			return len(now) == 2 && now[0].Number != old.Number
		}), "round %d", round)
		assert.True(t, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x").Wait().Acked)
	}
	assert.Empty(t, f.Violations())
}

func TestNothingIsLostWithTwoConnectionsUnderLoad(t *testing.T) {
	f, api := serve(t, slackfake.Options{Limits: map[string]slackfake.Limit{"apps.connections.open": {}}})
	app(t, f, api, acks)
	app(t, f, api, acks)
	ctx, cancel := context.WithCancel(within(t))
	var work sync.WaitGroup
	work.Go(func() {
		for ctx.Err() == nil {
			old := f.Sockets()
			old[0].Drop()
			_ = f.Await(ctx, func() bool { return len(f.Sockets()) == 2 })
		}
	})
	const n = 300
	failed := 0
	for i := range n {
		if out := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", fmt.Sprint(i)).Wait(); !out.Acked {
			failed++
		}
	}
	cancel()
	work.Wait()
	assert.Zero(t, failed)
}

func TestTheClockCanBeTheBubblesOfSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := slackfake.New(slackfake.Options{Now: time.Now})
		f.SetURL("http://slack.test")
		f.Inject(slackfake.Fault{Name: slackfake.NotDelivered})
		began := time.Now()
		out := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x").Wait()
		assert.Equal(t, slackfake.OperationTimeout, out.Error)
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.Empty(t, f.Violations(), "the app never saw it")
		f.Close()
	})
}
