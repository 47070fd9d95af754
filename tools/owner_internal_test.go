package tools

import (
	"strconv"
	"strings"
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

// TestASessionIsNoLongerThanItsName: the library remembers each id that it is sent, and who
// calls can make up any number of their own.
func TestASessionIsNoLongerThanItsName(t *testing.T) {
	longest := sessionOf("ada", strings.Repeat("\U0001F980", mostName+1))
	assert.True(t, owns(longest, "ada"))
	assert.LessOrEqual(t, len(longest), mostSession)
	assert.True(t, owns(sessionOf("ada", strings.Repeat("\U0001F980", mostName)), "ada"))
	assert.Len(t, sessionOf("ada", strings.Repeat("\U0001F980", mostName)), mostSession)
	drawn := strings.Repeat("A", mostSession)
	assert.False(t, owns(sessionPrefix+drawn+"-"+ownedBy(drawn, "ada")+"-", "ada"))
}
