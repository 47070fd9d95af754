package ledger_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/ledger/pgtest"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

// The test binary runs itself again as other processes on the same ledger.
const (
	childVar  = "VPSGUARD_LEDGER_CHILD" // what to do, and the url
	childURL  = "VPSGUARD_LEDGER_URL"
	childName = "VPSGUARD_LEDGER_NAME"
)

func TestMain(m *testing.M) {
	do, ok := map[string]func(context.Context, string, string) error{
		"count": childCount, "write": childWrite, "work": childWork, "open": childOpen, "hang": childHang,
	}[os.Getenv(childVar)]
	if !ok {
		os.Exit(pgtest.Main(m))
	}
	if err := do(context.Background(), os.Getenv(childURL), os.Getenv(childName)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(t testing.TB, do, url, name string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), childVar+"="+do, childURL+"="+url, childName+"="+name)
	c.Stderr = os.Stderr
	return c
}

func childOpened(ctx context.Context, url string, use func(*ledger.Ledger) error) error {
	l, err := ledger.Open(ctx, url, ledger.Options{Now: time.Now})
	if err != nil {
		return err
	}
	if err := use(l); err != nil {
		return err
	}
	return l.Close()
}

func childOpen(ctx context.Context, url, _ string) error {
	return childOpened(ctx, url, func(*ledger.Ledger) error { return nil })
}

const childCounts = 25

// count adds one to a setting, and files a request with a nudge.
func count(ctx context.Context, l *ledger.Ledger, id string) error {
	return l.Change(ctx, func(ctx context.Context, tx policy.Tx) error {
		value, err := tx.Setting(ctx, "count")
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(value)
		if err := tx.PutSetting(ctx, "count", strconv.Itoa(n+1), policy.RecordBody{Event: "test.counted"}); err != nil {
			return err
		}
		r, err := tx.Put(ctx, policytest.Request(id), policy.RecordBody{Event: policy.EventHeld})
		if err != nil {
			return err
		}
		return tx.Nudge(ctx, r, time.Time{})
	})
}

func childCount(ctx context.Context, url, name string) error {
	return childOpened(ctx, url, func(l *ledger.Ledger) error {
		for i := range childCounts {
			if err := count(ctx, l, fmt.Sprintf("rq_%s_%d", name, i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// childWrite writes until it is killed, and tells of each change after it.
func childWrite(ctx context.Context, url, name string) error {
	return childOpened(ctx, url, func(l *ledger.Ledger) error {
		for i := 0; ; i++ {
			id := fmt.Sprintf("rq_%s_%d", name, i)
			if err := count(ctx, l, id); err != nil {
				return err
			}
			fmt.Println(id)
		}
	})
}

// childWork works until it is killed, and tells of each nudge.
func childWork(ctx context.Context, url, _ string) error {
	return childOpened(ctx, url, func(l *ledger.Ledger) error {
		return l.Work(ctx, policytest.Account, ledger.Hands{Advance: func(_ context.Context, id string) (time.Duration, error) {
			fmt.Println(id)
			return 0, nil
		}})
	})
}

func (on base) jobs(t testing.TB, url string) (n int) {
	t.Helper()
	require.NoError(t, on.raw(t, url).QueryRow("SELECT count(*) FROM river_job").Scan(&n))
	return n
}

func TestFourProcessesOpenAFreshLedgerAtOnceAndCount(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		url := on.missing(t)
		const processes = 4
		var wg sync.WaitGroup
		for p := range processes {
			wg.Go(func() { assert.NoError(t, child(t, "count", url, strconv.Itoa(p)).Run()) })
		}
		wg.Wait()
		l := open(t, url, time.Now)
		value, err := l.Setting(t.Context(), "count")
		require.NoError(t, err)
		assert.Equal(t, strconv.Itoa(processes*childCounts), value)
		v, err := l.Verify(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, processes*childCounts, v.Requests)
		assert.Equal(t, int64(2*processes*childCounts), v.Records)
		assert.Equal(t, processes*childCounts, on.jobs(t, url))
	})
}

func TestKillingAProcessLeavesWholeChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		url := on.fresh(t)
		l := open(t, url, time.Now)
		acknowledged := map[string]bool{}
		for round := range 10 {
			c := child(t, "write", url, strconv.Itoa(round))
			out, err := c.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, c.Start())
			lines := bufio.NewScanner(out)
			for n := 0; lines.Scan(); n++ {
				acknowledged[lines.Text()] = true
				if n == round { // somewhere in the midst of the next one
					require.NoError(t, c.Process.Kill())
				}
			}
			require.Error(t, c.Wait())
			require.NoError(t, count(t.Context(), l, fmt.Sprintf("rq_parent_%d", round)), "the others go on at once")
		}
		v, err := l.Verify(t.Context(), nil)
		require.NoError(t, err)
		for id := range acknowledged {
			_, err := l.Request(t.Context(), id)
			require.NoError(t, err, "what was acknowledged is there")
		}
		assert.GreaterOrEqual(t, v.Requests, len(acknowledged)+10)
		assert.LessOrEqual(t, v.Requests, len(acknowledged)+20, "at most one change a process was not told")
		assert.Equal(t, int64(2*v.Requests), v.Records)
		assert.Equal(t, v.Requests, on.jobs(t, url))
		value, err := l.Setting(t.Context(), "count")
		require.NoError(t, err)
		assert.Equal(t, strconv.Itoa(v.Requests), value)
		if on.name == onSQLite.name {
			var integrity string
			require.NoError(t, on.raw(t, url).QueryRow("PRAGMA integrity_check").Scan(&integrity))
			assert.Equal(t, "ok", integrity)
		}
	})
}

func TestAnotherProcessTakesANudgeAndASurvivorTheNext(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		url := on.fresh(t)
		l := open(t, url, time.Now)
		for _, id := range []string{"rq_222222", "rq_333333"} {
			require.NoError(t, count(t.Context(), l, id))
			c := child(t, "work", url, "")
			out, err := c.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, c.Start())
			lines := bufio.NewScanner(out)
			require.True(t, lines.Scan(), "it was filed before anybody worked")
			assert.Equal(t, id, lines.Text())
			require.NoError(t, c.Process.Kill())
			_ = c.Wait()
		}
	})
}

// BenchmarkPickUp measures from before a change to the advance in another process.
func BenchmarkPickUp(b *testing.B) {
	url := fresh(b)
	l := open(b, url, time.Now)
	c := child(b, "work", url, "")
	out, err := c.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, c.Start())
	lines := bufio.NewScanner(out)
	require.NoError(b, count(b.Context(), l, "rq_first"))
	require.True(b, lines.Scan())
	var longest time.Duration
	b.ResetTimer()
	for i := range b.N {
		began := time.Now()
		require.NoError(b, count(b.Context(), l, "rq_"+strconv.Itoa(i)))
		require.True(b, lines.Scan())
		longest = max(longest, time.Since(began))
	}
	b.ReportMetric(float64(longest.Milliseconds()), "ms-longest")
	b.StopTimer()
	require.NoError(b, c.Process.Kill())
	_ = c.Wait()
}
