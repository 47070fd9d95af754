package policytest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

var otherAccount = policy.Account{URL: Account.URL}

// shelf files requests that differ in what filters look at.
func (b *bench) shelf(t *testing.T) {
	t.Helper()
	minute := func(n int) time.Time { return Start.Add(time.Duration(n) * time.Minute) }
	b.file(t, "rq_aaaaaa")
	b.file(t, "rq_bbbbbb", func(r *policy.Request) { r.State, r.DueAt = policy.StateApproved, minute(5) })
	b.file(t, "rq_cccccc", func(r *policy.Request) {
		r.State, r.Begun, r.DueAt, r.Plan.Server = policy.StateRunning, 2, minute(10), Server(7)
	})
	b.file(t, "rq_dddddd", func(r *policy.Request) {
		r.State, r.Begun, r.DueAt, r.EndedAt = policy.StateDone, 4, time.Time{}, minute(20)
		r.Actor, r.Plan.Server = Person("agent"), Server(7)
	})
	b.file(t, "rq_eeeeee", func(r *policy.Request) {
		r.State, r.DueAt, r.EndedAt, r.Account = policy.StateDenied, time.Time{}, minute(30), otherAccount
		r.Purpose, r.Aim = "other purpose", "aim of rq_aaaaaa"
	})
	b.file(t, "rq_ffffff", func(r *policy.Request) {
		r.State, r.DueAt, r.Actor, r.Purpose = policy.StateUncertain, minute(30), Agent("other"), "other purpose"
		r.Plan.Server.Name = "web-7" // a name that another server's id has
	})
}

type filterCase struct {
	name   string
	filter policy.Filter
	want   string // last letters of the ids, newest first
}

func filterCases() []filterCase {
	minute := func(n int) time.Time { return Start.Add(time.Duration(n) * time.Minute) }
	return []filterCase{
		{"none", policy.Filter{}, "fedcba"},
		{"one state", policy.Filter{States: []policy.State{policy.StateHeld}}, "a"},
		{"states open and ended", policy.Filter{States: []policy.State{policy.StateDone, policy.StateHeld}}, "da"},
		{"all that is open", policy.Filter{States: policy.OpenStates()}, "fcba"},
		{"a state that there is not", policy.Filter{States: []policy.State{"x' OR 1=1 --"}}, ""},
		{"account", policy.Filter{Account: &Account}, "fdcba"},
		{"account without an owner", policy.Filter{Account: &otherAccount}, "e"},
		{"server id", policy.Filter{ServerID: 7}, "dc"},
		{"server name", policy.Filter{ServerName: "web-7"}, "fdc"},
		{"server name is exact", policy.Filter{ServerName: "web%"}, ""},
		{"server name minds case", policy.Filter{ServerName: "WEB-7"}, ""},
		{"actor", policy.Filter{Actor: Agent("agent").Key()}, "ecba"},
		{"actor of another door", policy.Filter{Actor: Person("agent").Key()}, "d"},
		{"purpose", policy.Filter{Purpose: "other purpose"}, "fe"},
		{"aim", policy.Filter{Aim: "aim of rq_aaaaaa"}, "ea"},
		{"begun after", policy.Filter{BegunAfter: 2}, "d"},
		{"begun after the first", policy.Filter{BegunAfter: 1}, "dc"},
		{"ended after", policy.Filter{EndedAfter: minute(20)}, "e"},
		{"ended just after", policy.Filter{EndedAfter: minute(20).Add(-time.Millisecond)}, "ed"},
		{"due by", policy.Filter{DueBy: minute(10)}, "cb"},
		{"due just before", policy.Filter{DueBy: minute(10).Add(-time.Millisecond)}, "b"},
		{"due at all", policy.Filter{DueBy: minute(9999)}, "fcba"},
	}
}

func letters(found []policy.Request) string {
	out := ""
	for _, r := range found {
		out += r.ID[len(r.ID)-1:]
	}
	return out
}

func testFilters(t *testing.T, b *bench) {
	b.shelf(t)
	for _, c := range filterCases() {
		found, total, err := b.l.Requests(t.Context(), c.filter)
		require.NoError(t, err, c.name)
		assert.Equal(t, c.want, letters(found), c.name)
		assert.Equal(t, len(c.want), total, c.name)
	}
}

// testCombined takes each two filters together.
func testCombined(t *testing.T, b *bench) {
	b.shelf(t)
	require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		for _, one := range filterCases() {
			for _, two := range filterCases() {
				f, ok := both(one.filter, two.filter)
				if !ok {
					continue
				}
				want := ""
				for _, c := range one.want {
					if slices.Contains([]rune(two.want), c) {
						want += string(c)
					}
				}
				found, total, err := tx.Requests(ctx, f)
				require.NoError(t, err)
				assert.Equal(t, want, letters(found), "%s and %s", one.name, two.name)
				assert.Equal(t, len(want), total, "%s and %s", one.name, two.name)
			}
		}
		return nil
	}))
}

// both joins two filters, unless they look at the same thing.
func both(a, b policy.Filter) (policy.Filter, bool) {
	apart := (len(a.States) == 0 || len(b.States) == 0) && (a.Account == nil || b.Account == nil) &&
		(a.ServerID == 0 || b.ServerID == 0) && (a.ServerName == "" || b.ServerName == "") && (a.Actor == "" || b.Actor == "") &&
		(a.Purpose == "" || b.Purpose == "") && (a.BegunAfter == 0 || b.BegunAfter == 0) &&
		(a.EndedAfter.IsZero() || b.EndedAfter.IsZero()) && (a.DueBy.IsZero() || b.DueBy.IsZero())
	if !apart {
		return a, false
	}
	a.States = append(slices.Clone(a.States), b.States...)
	if a.Account == nil {
		a.Account = b.Account
	}
	a.ServerID += b.ServerID
	a.ServerName += b.ServerName
	a.Actor += b.Actor
	a.Purpose += b.Purpose
	if a.Aim == "" {
		a.Aim = b.Aim
	}
	a.BegunAfter += b.BegunAfter
	if a.EndedAfter.IsZero() {
		a.EndedAfter = b.EndedAfter
	}
	if a.DueBy.IsZero() {
		a.DueBy = b.DueBy
	}
	return a, true
}

func testPages(t *testing.T, b *bench) {
	const many, done = 105, 21
	require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		for i := range many {
			r := Request(fmt.Sprintf("rq_%06d", i))
			if i%5 == 0 {
				r.State = policy.StateDone
			}
			if _, err := tx.Put(ctx, r, policy.RecordBody{Event: policy.EventHeld}); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, c := range []struct {
		limit, first int
	}{{0, many}, {-3, many}, {5000, many}, {1, 1}, {20, 20}, {many, many}} {
		found, total, err := b.l.Requests(t.Context(), policy.Filter{Limit: c.limit})
		require.NoError(t, err)
		assert.Len(t, found, c.first, "limit %d", c.limit)
		assert.Equal(t, many, total, "limit %d", c.limit)
	}
	f := policy.Filter{States: []policy.State{policy.StateDone}, Limit: 9}
	var seqs []int64
	for {
		found, total, err := b.l.Requests(t.Context(), f)
		require.NoError(t, err)
		assert.Equal(t, done, total, "the total has no cursor")
		if len(found) == 0 {
			break
		}
		for _, r := range found {
			seqs = append(seqs, r.Seq)
		}
		f.Before = found[len(found)-1].Seq
	}
	assert.Len(t, seqs, done)
	assert.True(t, slices.IsSortedFunc(seqs, func(a, b int64) int { return int(b - a) }), "newest first")
	assert.Len(t, slices.Compact(seqs), done, "none twice")
}
