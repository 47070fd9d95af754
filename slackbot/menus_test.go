package slackbot

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// openAsk opens the form for what a command lacks.
func (w *botWorld) openAsk(user, text string) slackfake.View {
	w.Helper()
	w.slack.User(user).Slash(botRoom, "/vps", text).Wait()
	w.until(5*time.Second, "a form", func() bool { _, ok := w.slack.View(user); return ok })
	v, _ := w.slack.View(user)
	return v
}

func TestAMenuOffersWhatFits(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		for i := range 1002 {
			w.vps.AddServer(int64(20000+i), fmt.Sprintf("Node-%04d-äöü-%s", i, strings.Repeat("日本", 15)))
		}
		p := w.start()
		v := w.openAsk(slackfake.Ada, "snapshot restore")
		ada := w.slack.User(slackfake.Ada)
		offered := func(typed string) []slackfake.Option {
			out := ada.Type(v, "pick:server", typed).Wait()
			require.True(t, out.Acked)
			require.Empty(t, out.Error)
			return out.Options
		}
		all := offered("")
		assert.Greater(t, len(all), 20)
		assert.LessOrEqual(t, len(all), 100)
		for i := range 1002 { // each can be found
			found := offered(fmt.Sprintf("node-%04d", i))
			require.Len(t, found, 1, i)
			require.Equal(t, fmt.Sprint(20000+i), found[0].Value)
		}
		require.Len(t, offered("WEB-server"), 1)
		assert.Equal(t, "12345", offered("WEB-server")[0].Value)
		assert.Empty(t, offered("no such thing"))
		assert.Empty(t, offered("<!channel>' OR 1=1"))
		raw, err := json.Marshal(map[string]any{
			"type": "block_suggestion", "user": map[string]any{"id": slackfake.Ada, "team_id": slackfake.Team}, "action_id": "pick:server",
			"view": map[string]any{"private_metadata": v.PrivateMetadata},
		})
		require.NoError(t, err)
		ack := p.bot.receive(context.Background(), delivery{Kind: kindOptions, Body: raw})
		assert.Less(t, len(ack), largestAck)
	})
}

func TestAMenuOfPointsIsOfTheServerThatWasChosen(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		w.vps.AddServer(7, "other")
		w.vps.AddSnapshot(vpsfake.Point{ID: 900, ServerID: 7, Name: "elsewhere", CreatedAt: time.Now().Add(-3 * time.Hour)})
		w.start()
		v := w.openAsk(slackfake.Ada, "snapshot restore")
		ada := w.slack.User(slackfake.Ada)
		ada.Type(v, "pick:server", "").Wait()
		ada.Fill(v, slackfake.Values{"ask:server": {"pick:server": "7"}})
		out := ada.Type(v, "pick:snapshot_id", "").Wait()
		require.Len(t, out.Options, 1)
		assert.Equal(t, "900", out.Options[0].Value)
		assert.Contains(t, out.Options[0].Text, "3 hours ago")
		ada.Fill(v, slackfake.Values{"ask:server": {"pick:server": "12345"}})
		out = ada.Type(v, "pick:snapshot_id", "").Wait()
		require.Len(t, out.Options, 2)
		assert.NotContains(t, fmt.Sprint(out.Options), "elsewhere")
		// What was given before the form counts too.
		v = w.openAsk(slackfake.Grace, "snapshot restore other")
		out = w.slack.User(slackfake.Grace).Type(v, "pick:snapshot_id", "").Wait()
		require.Len(t, out.Options, 1)
		assert.Equal(t, "900", out.Options[0].Value)
	})
}

func TestAMenuIsEmptyInTimeWhileNothingAnswers(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		w.start()
		v := w.openAsk(slackfake.Ada, "snapshot restore")
		w.vps.Inject(vpsfake.Fault{Name: vpsfake.Hang})
		for range 5 {
			out := w.slack.User(slackfake.Ada).Type(v, "pick:server", "").Wait()
			require.True(t, out.Acked)
			assert.Less(t, out.Took, 2500*time.Millisecond)
			assert.Empty(t, out.Options)
		}
	})
}

// A list that takes longer than a menu waits is there for the next letter.
func TestAMenuThatIsSlowIsThereAMomentLater(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start(func(s *botSetup) {
			s.gate = func(g Gate) Gate { return &slowLists{Gate: g, takes: 3 * time.Second} }
		})
		v := w.openAsk(slackfake.Ada, "snapshot restore")
		assert.Empty(t, w.slack.User(slackfake.Ada).Type(v, "pick:server", "w").Wait().Options)
		assert.Len(t, w.slack.User(slackfake.Ada).Type(v, "pick:server", "we").Wait().Options, 1)
		time.Sleep(time.Minute)
		p.bot.lists.mu.Lock()
		defer p.bot.lists.mu.Unlock()
		assert.Empty(t, p.bot.lists.lines)
	})
}

// slowLists answers lists after a while.
type slowLists struct {
	Gate
	takes time.Duration
}

func (s *slowLists) Call(ctx context.Context, c policy.Call) (policy.Outcome, error) {
	if err := sleepFor(ctx, s.takes); err != nil {
		return policy.Outcome{}, err
	}
	return s.Gate.Call(ctx, c)
}

func TestAMenuOffersNothingToWhoMayDoNothing(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		v := w.openAsk(slackfake.Ada, "snapshot restore")
		w.slack.AddUser(slackfake.User{ID: "U7", Name: "guest", Guest: true})
		suggest := func(user, team, action, metadata string) string {
			raw, err := json.Marshal(map[string]any{
				"type": "block_suggestion", "user": map[string]any{"id": user, "team_id": team}, "action_id": action,
				"view": map[string]any{"private_metadata": metadata},
			})
			require.NoError(t, err)
			return string(p.bot.receive(context.Background(), delivery{Kind: kindOptions, Body: raw}))
		}
		const nothing = `{"options":[]}`
		key := v.PrivateMetadata
		assert.NotEqual(t, nothing, suggest("U1", slackfake.Team, "pick:server", key))
		assert.JSONEq(t, nothing, suggest("U7", slackfake.Team, "pick:server", key))
		assert.JSONEq(t, nothing, suggest("U1", "T0OTHER", "pick:server", key))
		assert.JSONEq(t, nothing, suggest("", "", "pick:server", key))
		assert.JSONEq(t, nothing, suggest("U1", slackfake.Team, "pick:reason", key))
		assert.JSONEq(t, nothing, suggest("U1", slackfake.Team, "pick:nothing", key))
		assert.JSONEq(t, nothing, suggest("U1", slackfake.Team, "server", key))
		for _, bad := range botGarbage(key) {
			assert.JSONEq(t, nothing, suggest("U1", slackfake.Team, "pick:server", bad))
		}
	})
}

func TestMenusRememberABoundedNumber(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		for i := range 3 * mostMenus {
			_, _ = p.bot.known(context.Background(), policy.Actor{Door: policy.DoorSlack, Subject: "T:U"}, "server", fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		p.bot.mu.Lock()
		defer p.bot.mu.Unlock()
		assert.LessOrEqual(t, len(p.bot.menus), mostMenus)
		p.bot.lists.mu.Lock()
		defer p.bot.lists.mu.Unlock()
		assert.Empty(t, p.bot.lists.lines)
	})
}

func TestAMenuIsCutWhereSlackWouldDropIt(t *testing.T) {
	long := strings.Repeat("\u2028\\\"<>&", 20)
	var all []option
	for i := range 100 {
		all = append(all, option{Text: long, Value: strings.Repeat("9", 150) + fmt.Sprint(i)})
	}
	assert.Less(t, len(menu(all)), largestAck)
	assert.JSONEq(t, `{"options":[]}`, string(menu(nil)))
	assert.JSONEq(t, `{"options":[]}`, string(menu([]option{{Text: "x", Value: strings.Repeat("9", largestAck)}})))
}
