package ledger_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/ledger/pgtest"
)

// TestAStandbyThatNoCommitWaitsForIsNamed connects as a standby does.
func TestAStandbyThatNoCommitWaitsForIsNamed(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "wal_level=replica", "max_wal_senders=2", "fsync=on", "full_page_writes=on")
	database := server.Database(t)
	l, err := ledger.Open(t.Context(), database, ledger.Options{Now: time.Now})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	found, err := l.Concerns(t.Context())
	require.NoError(t, err)
	assert.Empty(t, found, "there is none")

	standby, err := pgconn.Connect(t.Context(), parameter(t, database, "replication", "true"))
	require.NoError(t, err)
	found, err = l.Concerns(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 1)
	assert.Contains(t, found[0].What, "a standby that takes over may lack the last records")
	assert.Contains(t, found[0].Fix, "synchronous_standby_names")
	require.NoError(t, standby.Close(t.Context()))
}
