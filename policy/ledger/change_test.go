package ledger_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

// TestHalfOfAChangeIsNeverCommitted breaks each table in turn, and overlooks it.
func TestHalfOfAChangeIsNeverCommitted(t *testing.T) {
	for _, table := range []string{"request", "audit_record", "audit_head", "setting", "note", "river_job"} {
		t.Run(table, func(t *testing.T) {
			url := fresh(t)
			l := open(t, url, time.Now)
			do := "INSERT"
			if table == "audit_head" {
				do = "UPDATE"
			}
			_, err := raw(t, url).Exec("CREATE TRIGGER broken BEFORE " + do + " ON " + table + " BEGIN SELECT RAISE(FAIL, 'a secret thing'); END")
			require.NoError(t, err)
			var seen []error
			err = l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
				_, err := tx.Put(ctx, policytest.Request("rq_222222"), policy.RecordBody{})
				seen = append(seen, err, tx.PutSetting(ctx, "name", "value", policy.RecordBody{}),
					tx.Nudge(ctx, policytest.Request("rq_222222"), time.Time{}), tx.Tell(ctx, policytest.Request("rq_222222")))
				return nil
			})
			require.Error(t, err)
			assert.Equal(t, policy.Unavailable, policy.KindOf(err))
			assert.Equal(t, "the ledger does not work; nothing was changed", policy.Public(err).Message)
			assert.NotContains(t, policy.Public(err).Hint, "secret")
			if table != "audit_head" { // its row moves last
				assert.Contains(t, seen, err, "what the function overlooked is what the change fails with")
			}
			v, err := l.Verify(t.Context(), nil)
			require.NoError(t, err)
			assert.Zero(t, v)
			assert.Zero(t, jobs(t, url))
			_, err = l.Note(t.Context(), policy.ToldScope(policytest.Account), "rq_222222")
			assert.Equal(t, policy.NotFound, policy.KindOf(err))
			_, err = raw(t, url).Exec("DROP TRIGGER broken")
			require.NoError(t, err)
			require.NoError(t, count(t.Context(), l, "rq_222222"), "and it goes on")
		})
	}
}
