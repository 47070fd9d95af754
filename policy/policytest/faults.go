package policytest

import (
	"slices"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// Fault is how a commit goes wrong. To the caller both look alike.
type Fault int

const (
	// CommitFailed stores nothing and says so: a full disk.
	CommitFailed Fault = iota
	// CommitLost stores everything, its nudges too, and says that it failed: a
	// connection that broke before the answer. A caller must send nothing then.
	CommitLost
)

// FailNextCommit lets the next commit fail with nothing stored.
func (m *Memory) FailNextCommit() { m.FailCommits(1, CommitFailed) }

// FailCommits lets the next n commits fail, after those that were ordered
// before. A Change that puts nothing has nothing to commit and does not count;
// a note that is put or dropped does.
func (m *Memory) FailCommits(n int, f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, slices.Repeat([]Fault{f}, n)...)
}

// Heal forgets the faults that are still to come.
func (m *Memory) Heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = nil
}

// Records are the whole audit, in order.
func (m *Memory) Records() []policy.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.log)
}

// Nudges are those that wait, in the order of their times.
func (m *Memory) Nudges() []Nudge {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedStableFunc(slices.Values(m.nudges), byTime)
}

// Told are the nudges to doors ([policy.Tx].Tell) that wait, in their order.
func (m *Memory) Told() []Nudge {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.told)
}

// TakeTold takes the nudges to doors of all accounts, and gives the ids of their
// requests in their order, each once.
func (m *Memory) TakeTold() (ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.told {
		if !slices.Contains(ids, n.ID) {
			ids = append(ids, n.ID)
		}
	}
	m.told = nil
	return ids
}

// TakeDue takes the nudges of all accounts that are due, and gives the ids of
// their requests in the order of their times, each once.
func (m *Memory) TakeDue(now time.Time) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortStableFunc(m.nudges, byTime)
	due := 0
	var ids []string
	for ; due < len(m.nudges) && !m.nudges[due].At.After(now); due++ {
		if id := m.nudges[due].ID; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	m.nudges = slices.Clone(m.nudges[due:])
	return ids
}

func byTime(a, b Nudge) int { return a.At.Compare(b.At) }
