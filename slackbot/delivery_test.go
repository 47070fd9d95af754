package slackbot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// transportLog keeps what is logged, from debug on.
type transportLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *transportLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *transportLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *transportLog) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// intakeKit is an intake on the clock of a bubble.
func intakeKit(running, queued int) (*intake, *transportLog) {
	l := &transportLog{}
	return newIntake(context.Background(), intakeOptions{Now: time.Now, Log: l.logger(), Running: running, Queued: queued}), l
}

// takeIn takes a delivery as a transport does.
func takeIn(in *intake, d delivery, r receiver) (json.RawMessage, reception) {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	return in.take(ctx, d, r)
}

func TestALateAnswerIsAnEmptyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, log := intakeKit(0, 0)
		runs := 0
		slow := func(ctx context.Context, _ delivery) json.RawMessage {
			runs++
			time.Sleep(time.Minute)
			assert.NoError(t, ctx.Err(), "the work goes on")
			return json.RawMessage(`{"text":"hush"}`)
		}
		d := delivery{Kind: kindCommand, Key: "k", Via: viaHTTP}
		began := time.Now()
		ack, f := takeIn(in, d, slow)
		assert.Equal(t, answerWithin, time.Since(began))
		assert.Equal(t, fateAcked, f)
		assert.Empty(t, ack)
		assert.Zero(t, in.drain(time.Hour, 0))
		assert.Equal(t, time.Minute, time.Since(began))
		ack, f = takeIn(in, d, slow)
		assert.Empty(t, ack, "a repeat gets what the first got")
		assert.Equal(t, fateAcked, f)
		assert.Equal(t, 1, runs)
		assert.Contains(t, log.String(), "too late")
		assert.NotContains(t, log.String(), "hush")
	})
}

func TestARepeatWaitsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, _ := intakeKit(0, 0)
		runs := 0
		r := func(context.Context, delivery) json.RawMessage {
			runs++
			time.Sleep(2 * time.Second)
			return json.RawMessage(`{"n":1}`)
		}
		var work sync.WaitGroup
		for _, via := range []string{viaHTTP, viaSocket} {
			work.Go(func() {
				ack, f := takeIn(in, delivery{Key: "k", Via: via}, r)
				assert.Equal(t, fateAcked, f)
				assert.JSONEq(t, `{"n":1}`, string(ack))
			})
		}
		work.Wait()
		assert.Equal(t, 1, runs)
	})
}

func TestWhoHangsUpDoesNotDecideTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, _ := intakeKit(0, 0)
		r := func(context.Context, delivery) json.RawMessage {
			time.Sleep(2 * time.Second)
			return json.RawMessage(`{}`)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, f := in.take(ctx, delivery{Key: "k"}, r)
		assert.Equal(t, fateGone, f)
		ack, f := takeIn(in, delivery{Key: "k"}, r)
		assert.Equal(t, fateAcked, f)
		assert.Equal(t, `{}`, string(ack))
	})
}

func TestSoManyAtATimeSoManyInTheQueueAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, log := intakeKit(2, 3)
		var running, most, runs atomic.Int64
		block := make(chan struct{})
		r := func(context.Context, delivery) json.RawMessage {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			runs.Add(1)
			<-block
			return nil
		}
		fates := make(chan reception, 8)
		for i := range 8 {
			go func() {
				_, f := takeIn(in, delivery{Key: string(rune('a' + i))}, r)
				fates <- f
			}()
		}
		synctest.Wait()
		require.Len(t, fates, 3, "at once")
		for range 3 {
			assert.Equal(t, fateRefused, <-fates)
		}
		time.Sleep(answerWithin)
		synctest.Wait()
		require.Len(t, fates, 5, "the queue is acknowledged in time as well")
		for range 5 {
			assert.Equal(t, fateAcked, <-fates)
		}
		assert.EqualValues(t, 2, runs.Load())
		close(block)
		synctest.Wait()
		assert.EqualValues(t, 5, runs.Load(), "and worked on later")
		assert.EqualValues(t, 2, most.Load())
		assert.Contains(t, log.String(), "too many")
		again := 0
		for i := range 8 {
			_, f := takeIn(in, delivery{Key: string(rune('a' + i))}, func(context.Context, delivery) json.RawMessage { again++; return nil })
			assert.Equal(t, fateAcked, f)
		}
		assert.Equal(t, 3, again, "what was refused may come again, the rest is known")
	})
}

func TestAPanicIsAnErrorForWhoActedAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, log := intakeKit(1, 1)
		runs := 0
		for name, how := range map[string]func(){
			"text":    func() { panic("hush https://hooks.slack.test/xyz") },
			"error":   func() { panic(errors.New("hush")) },
			"runtime": func() { m := map[string][]int{}; m["x"][3]++ },
		} {
			broken := func(context.Context, delivery) json.RawMessage { runs++; how(); return nil }
			for range 2 {
				_, f := takeIn(in, delivery{Kind: kindCommand, Key: name}, broken)
				assert.Equal(t, fateBroken, f, name)
			}
		}
		assert.Equal(t, 3, runs)
		assert.Contains(t, log.String(), "delivery_test.go", "with its stack")
		assert.Contains(t, log.String(), "index out of range [3] with length 0")
		assert.NotContains(t, log.String(), "hush")
		_, f := takeIn(in, delivery{Key: "next"}, func(context.Context, delivery) json.RawMessage { return nil })
		assert.Equal(t, fateAcked, f, "its place is free again")
	})
}

func TestDrainingWaitsThenCancelsThenLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		outer, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
		log := &transportLog{}
		in := newIntake(outer, intakeOptions{Now: time.Now, Log: log.logger(), Running: 2, Queued: 5})
		obeys, stuck, ran := false, make(chan struct{}), 0
		for _, r := range []receiver{
			func(ctx context.Context, _ delivery) json.RawMessage {
				assert.Equal(t, "v", ctx.Value(key{}))
				<-ctx.Done()
				obeys = true
				return nil
			},
			func(context.Context, delivery) json.RawMessage { <-stuck; return nil },
			func(context.Context, delivery) json.RawMessage { ran++; return nil },
		} {
			go func() { takeIn(in, delivery{}, r) }()
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		assert.False(t, obeys, "the service's end is not yet the receivers'")
		began := time.Now()
		assert.Equal(t, 1, in.drain(10*time.Second, time.Second))
		assert.Equal(t, 11*time.Second, time.Since(began))
		assert.True(t, obeys)
		assert.Contains(t, log.String(), "running=1 dropped=1")
		_, f := takeIn(in, delivery{Key: "after"}, nil)
		assert.Equal(t, fateRefused, f)
		close(stuck)
		synctest.Wait()
		assert.Zero(t, ran)
	})
}

func TestACommandIsTheSameFromAFormAndFromJSON(t *testing.T) {
	form, err := commandForm(url.Values{"command": {"/vps"}, "text": {`a "b" & c`}, "is_enterprise_install": {"false"}})
	require.NoError(t, err)
	js, err := commandJSON(json.RawMessage(`{"text":"a \"b\" & c","command":"/vps","is_enterprise_install":false}`))
	require.NoError(t, err)
	assert.Equal(t, string(form), string(js))
	js, err = commandJSON(json.RawMessage(`{"n":null,"i":12345678901234567890,"o":{"a":[1]}}`))
	require.NoError(t, err)
	assert.JSONEq(t, `{"n":"","i":"12345678901234567890","o":"{\"a\":[1]}"}`, string(js))
	for _, bad := range []string{``, `null`, `[]`, `"x"`, `{`, `{"a":1}}`} {
		_, err := commandJSON(json.RawMessage(bad))
		assert.Error(t, err, bad)
		_, err = headOf(json.RawMessage(bad))
		assert.Error(t, err, bad)
	}
	head, err := headOf(json.RawMessage(` {"type":5,"event_id":"Ev1"}`))
	require.NoError(t, err)
	assert.Equal(t, payloadHead{EventID: "Ev1"}, head)
}
