package slackbot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// metFirst says what has become of a key for good.
func metFirst(t *testing.T, s *seen, key string, ack json.RawMessage) {
	t.Helper()
	x, first := s.meet(key)
	require.True(t, first, key)
	require.True(t, s.settle(x, fateAcked, ack))
	s.close(x)
}

func TestOneOfManyAtOnceIsTheFirst(t *testing.T) {
	s := newSeen(time.Now)
	var firsts atomic.Int64
	var work sync.WaitGroup
	for range 100 {
		work.Go(func() {
			x, first := s.meet("k")
			if first {
				firsts.Add(1)
				s.settle(x, fateAcked, json.RawMessage(`{"text":"hi"}`))
				s.close(x)
			}
			<-x.settled
			assert.JSONEq(t, `{"text":"hi"}`, string(x.ack))
		})
	}
	work.Wait()
	assert.EqualValues(t, 1, firsts.Load())
}

func TestARepeatIsKnownForTenMinutesAfterTheWorkEnded(t *testing.T) {
	clock := slackfake.NewClock(slackfake.Epoch)
	s := newSeen(clock.Now)
	x, _ := s.meet("slow")
	s.settle(x, fateAcked, nil)
	clock.Pass(time.Hour)
	_, first := s.meet("slow")
	assert.False(t, first, "it is still being worked on")
	s.close(x)
	clock.Pass(seenFor - 1)
	_, first = s.meet("slow")
	assert.False(t, first)
	clock.Pass(1)
	_, first = s.meet("slow")
	assert.True(t, first)
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	s := newSeen(time.Now)
	working, _ := s.meet("working")
	for i := range seenMost + 10 {
		metFirst(t, s, fmt.Sprint(i), nil)
	}
	assert.Len(t, s.byKey, seenMost+1)
	_, first := s.meet("10")
	assert.False(t, first)
	_, first = s.meet("working")
	assert.False(t, first, "what is being worked on is never dropped")
	_, first = s.meet("9")
	assert.True(t, first, "the oldest went")
	s.close(working)

	s = newSeen(time.Now)
	large := json.RawMessage(bytes.Repeat([]byte("1"), 1<<20))
	for i := range 40 {
		metFirst(t, s, fmt.Sprint(i), large)
	}
	assert.Equal(t, seenBytes, s.bytes)
	assert.Len(t, s.byKey, seenBytes>>20)
}

func TestTheFirstWordCounts(t *testing.T) {
	s := newSeen(time.Now)
	x, _ := s.meet("k")
	assert.True(t, s.settle(x, fateAcked, nil))
	assert.False(t, s.settle(x, fateBroken, json.RawMessage(`{}`)))
	assert.Equal(t, fateAcked, x.fate)
	assert.Nil(t, x.ack)
}

func TestWhatWasNotTakenMayComeAgain(t *testing.T) {
	clock := slackfake.NewClock(slackfake.Epoch)
	s := newSeen(clock.Now)
	x, _ := s.meet("k")
	s.forget(x)
	<-x.settled
	assert.Equal(t, fateRefused, x.fate)
	_, first := s.meet("k")
	assert.True(t, first)
	for range 2 {
		_, first = s.meet("")
		assert.True(t, first, "nothing repeats what has no key")
	}
	s.close(x)
	clock.Pass(seenFor)
	_, first = s.meet("k")
	assert.False(t, first, "a sighting that was forgotten does not touch the one after it")
}
