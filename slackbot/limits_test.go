package slackbot

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"

	"github.com/vpsguard/vpsguard/policy"
)

func TestAnyMessageIsMadeToFit(t *testing.T) {
	s := &sheet{id: strings.Repeat("i", 300), most: 9000}
	s.head("APPROVAL NEEDED: " + strings.Repeat("x", 400))
	s.fact("Undo", "there is NO WAY BACK")
	for i := range 70 {
		s.plain(fmt.Sprintf("part %d: ", i) + strings.Repeat("long ", 500))
	}
	s.markup("*Who may approve:* " + strings.Repeat("<@U0ADA>, ", 400))
	long := button("x", strings.Repeat("k", 3000), strings.Repeat("press ", 99), "")
	long.AccessibilityLabel = strings.Repeat("hear ", 99)
	s.buttons(asking(long, strings.Repeat("t", 500), strings.Repeat("t", 500), strings.Repeat("t", 500), strings.Repeat("t", 500)))
	m := fitMessage(message{Text: strings.Repeat("&amp; ", 3000), Blocks: s.blocks})
	checkPosted(t, m)
	shown := visible(t, m)
	assert.Contains(t, shown, "APPROVAL NEEDED")
	assert.Contains(t, shown, "NO WAY BACK")
	assert.Contains(t, shown, "25 parts are not shown here.")
	assert.Equal(t, []string{"x"}, actions(m), "the buttons stay")
	assert.Empty(t, pressed(m)[0].Value, "half a key would be another key")
}

func TestAnyModalIsMadeToFit(t *testing.T) {
	s := &sheet{id: "x", most: 9000}
	for i := range 120 {
		s.input(fmt.Sprint("in", i), strings.Repeat("l", 3000), strings.Repeat("h", 3000), askElement(policy.Argument{
			Name: "many", Enum: strings.Split(strings.Repeat("option,", 150)+"last", ","),
		}), true)
	}
	v := ours().modal("id", strings.Repeat("t", 99), strings.Repeat("s", 99), strings.Repeat("c", 99), strings.Repeat("k", 4000), s)
	v.Blocks.BlockSet = v.Blocks.BlockSet[:10] // lest it be too large as a whole, which wholeView looks at
	checkOpened(t, v)
	assert.Empty(t, v.PrivateMetadata)
	assert.False(t, wholeView(v, 101))
	assert.True(t, wholeView(v, 100))
}

func TestALabelForTheEarKeepsTheIDs(t *testing.T) {
	r := kinds()["delete"]
	r.Plan.Server.Name = strings.Repeat("é", 300)
	for _, b := range pressed(ours().card(standing(r), cardOptions{Buttons: true, Key: "k"})) {
		assert.LessOrEqual(t, len([]rune(b.AccessibilityLabel)), mostButton)
		assert.Contains(t, b.AccessibilityLabel, "snapshot 801")
		assert.True(t, strings.HasSuffix(b.AccessibilityLabel, "… (12345)"), b.AccessibilityLabel)
	}
	assert.NotEqual(t, slack.StyleDanger, button("a", "b", "c", "d").Style)
}
