package slackbot

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGoldensAreOfSlacksTypes has the TypeScript compiler check every golden
// message and view against the types that Slack publishes.
func TestGoldensAreOfSlacksTypes(t *testing.T) {
	dir := os.Getenv("VPSGUARD_SLACK_NODE")
	if dir == "" {
		dir = filepath.Join("..", ".ci", "slack")
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "typescript")); err != nil {
		t.Skipf("TypeScript and Slack's types are not installed: npm ci in .ci/slack, or VPSGUARD_SLACK_NODE says where (%v)", err)
	}
	goldens, err := filepath.Abs("testdata")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "types.js", goldens)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}
