package ledger_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

func TestOpenMakesAFileForItsOwnerOnly(t *testing.T) {
	odd := filepath.Join(t.TempDir(), "a folder", "50% & more?x=1#y", "ledger.db")
	l := open(t, "sqlite:"+odd, time.Now)
	assert.Equal(t, odd, l.Path())
	for path, mode := range map[string]os.FileMode{odd: 0o600, filepath.Dir(odd): 0o700, filepath.Dir(filepath.Dir(odd)): 0o700} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), path)
	}
	require.NoError(t, l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		return tx.Append(ctx, policy.RecordBody{Event: "test.happened"})
	}))
	again := open(t, "sqlite:"+odd, time.Now)
	head, err := again.Head(t.Context())
	require.NoError(t, err)
	assert.Equal(t, int64(1), head, "it is the same ledger again")
	require.NoError(t, again.Ready(t.Context()))
}

func TestOpenRefusesWithOneClearSentence(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	text := write("text", strings.Repeat("Dear diary, ", 500))
	foreign := "sqlite:" + filepath.Join(dir, "foreign.db")
	_, err := raw(t, foreign).Exec("CREATE TABLE diary (day TEXT)")
	require.NoError(t, err)
	newer := fresh(t)
	_, err = raw(t, newer).Exec("UPDATE schema_version SET version = 6, oldest = 5")
	require.NoError(t, err)
	unmade := fresh(t)
	_, err = raw(t, unmade).Exec("UPDATE schema_version SET version = 0")
	require.NoError(t, err)
	for _, c := range []struct {
		name, url string
		kind      policy.Kind
		says      string
	}{
		{"nothing", "", policy.Invalid, "names no kind of database"},
		{"a path alone", "/var/lib/ledger.db", policy.Invalid, "names no kind of database"},
		{"PostgreSQL without a host", "postgres://me:secret@/db", policy.Invalid, "names no host"},
		{"PostgreSQL with a password that is not escaped", "postgres://me:5432/secret@host/db", policy.Invalid, "an @ or a # behind its host"},
		{"PostgreSQL with another one", "postgres://me:5432/secret?x@host/db", policy.Invalid, "an @ or a # behind its host"},
		{"PostgreSQL with one more", "postgres://me:5432/secret#x@host/db", policy.Invalid, "an @ or a # behind its host"},
		{"PostgreSQL without a database", "postgresql://me:secret@host", policy.Invalid, "names no database"},
		{"PostgreSQL with a broken url", "postgres://me:secret%@host/db", policy.Invalid, "cannot be read"},
		{"PostgreSQL with a broken port", "postgres://me:secret@host:x/db", policy.Invalid, "cannot be read"},
		{"PostgreSQL with a broken parameter", "postgres://me:secret@host/db?sslmode=secret", policy.Invalid, "cannot be used as it is"},
		{"PostgreSQL that is not there", "postgres://me:secret@127.0.0.1:1/db", policy.Unavailable, "the ledger postgres://127.0.0.1:1/db cannot be used: the ledger's database cannot be reached"},
		{"another kind", "mysql://me:secret@host/db", policy.Invalid, `the unknown kind of database "mysql"`},
		{"no file", "sqlite:", policy.Invalid, "names no file"},
		{"memory", "sqlite::memory:", policy.Invalid, "in memory"},
		{"a host", "sqlite://secret/ledger.db", policy.Invalid, "names a host"},
		{"a folder's name", "sqlite:/var/lib/", policy.Invalid, "does not name a file"},
		{"a folder", "sqlite:" + dir, policy.Invalid, "is not a regular file"},
		{"below a file", "sqlite:" + text + "/x/ledger.db", policy.Unavailable, "a part of its path is not a folder"},
		{"a text", "sqlite:" + text, policy.Invalid, "a file of another kind"},
		{"another program's database", foreign, policy.Invalid, "an SQLite database of another program"},
		{"a newer ledger", newer, policy.Invalid, "it has version 6, of a newer vpsguard, which takes one that knows version 5; this one knows version 4"},
		{"a version that never was", unmade, policy.Invalid, "it has version 0, which no vpsguard has made"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ledger.Open(t.Context(), c.url, ledger.Options{Now: time.Now})
			require.Error(t, err)
			e := policy.Public(err)
			assert.Equal(t, c.kind, e.Kind, "%v", err)
			assert.Contains(t, e.Message, c.says)
			assert.NotEmpty(t, e.Hint)
			assert.NotContains(t, err.Error()+e.Hint, "secret")
		})
	}
	content, err := os.ReadFile(text)
	require.NoError(t, err)
	assert.Len(t, content, 6000, "a file that is no ledger stays as it is")
	var journal string
	require.NoError(t, raw(t, foreign).QueryRow("PRAGMA journal_mode").Scan(&journal))
	assert.Equal(t, "delete", journal, "and so does another program's database")
}

func TestCloseIsTheEnd(t *testing.T) {
	l := open(t, fresh(t), policytest.NewClock().Now)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	assert.Equal(t, policy.Unavailable, policy.KindOf(count(t.Context(), l, "rq_222222")))
	assert.Equal(t, policy.Internal, policy.KindOf(l.Work(t.Context(), policytest.Account, ledger.Hands{Advance: func(context.Context, string) (time.Duration, error) { return 0, nil }})))
	require.Error(t, l.Await(t.Context(), 0))
}

func TestALedgerThatOthersMayWriteIsRefused(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"the file":   func(path string) error { return os.Chmod(path, 0o666) },
		"its folder": func(path string) error { return os.Chmod(filepath.Dir(path), 0o777) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "own", "ledger.db")
			l, err := ledger.Open(t.Context(), "sqlite:"+path, ledger.Options{Now: time.Now})
			require.NoError(t, err)
			require.NoError(t, l.Close())
			require.NoError(t, change(path))
			_, err = ledger.Open(t.Context(), "sqlite:"+path, ledger.Options{Now: time.Now})
			assert.Equal(t, policy.Invalid, policy.KindOf(err))
			assert.Contains(t, policy.Public(err).Hint, "chmod go-w")
		})
	}
}
