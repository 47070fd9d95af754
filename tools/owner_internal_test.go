package tools

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEndedSessionsAreBounded(t *testing.T) {
	var e endedSessions
	for i := range mostEnded + 10 {
		e.add(strconv.Itoa(i))
		e.add(strconv.Itoa(i))
	}
	assert.Len(t, e.ids, mostEnded)
	assert.Len(t, e.turn, mostEnded)
	assert.False(t, e.has("9"))
	assert.True(t, e.has("10"))
	assert.True(t, e.has(strconv.Itoa(mostEnded+9)))
}
