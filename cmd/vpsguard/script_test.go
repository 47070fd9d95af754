package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" // tampers with ledgers

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
)

// TestScripts runs the stories in testdata/script. Each has a VPS.org and a
// ledger of its own. Beside the usual commands there are:
//
//	run …       runs the program, inside the test's own process
//	hold N      files N restores, by clients with different names, and sets $ID to the last
//	tamper SQL  changes the ledger behind its back, past the triggers that forbid it
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		UpdateScripts:      *update,
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			fake := vpsfake.New(vpsfake.Options{Now: time.Now, Token: testToken})
			api := httptest.NewServer(fake)
			e.Defer(api.Close)
			e.Vars = append(e.Vars, "HOME="+e.WorkDir, "VPSGUARD_API_URL="+api.URL+vpsfake.BasePath,
				"VPSGUARD_API_TOKEN="+testToken, "VPSGUARD_LOG_LEVEL=warn")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"run": scriptRun, "hold": scriptHold, "tamper": scriptTamper,
		},
	})
}

func scriptRun(ts *testscript.TestScript, neg bool, args []string) {
	p := &program{
		Args: append([]string{"vpsguard"}, args...), Stdin: strings.NewReader(""), Stdout: ts.Stdout(), Stderr: ts.Stderr(), Now: time.Now,
	}
	for _, name := range []string{
		"HOME", "VPSGUARD_API_URL", "VPSGUARD_API_TOKEN", "VPSGUARD_DATABASE", "VPSGUARD_LOG_LEVEL", "VPSGUARD_READ_ONLY",
	} {
		p.Env = append(p.Env, name+"="+ts.Getenv(name))
	}
	if code := p.Main(context.Background()); (code != 0) != neg {
		ts.Fatalf("vpsguard ended with %d", code)
	}
}

func scriptSettings(ts *testscript.TestScript) settings {
	env := []string{"HOME=" + ts.Getenv("HOME")}
	for _, name := range []string{"VPSGUARD_API_URL", "VPSGUARD_API_TOKEN", "VPSGUARD_DATABASE"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	s, err := load(context.Background(), env)
	ts.Check(err)
	return s
}

func scriptHold(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	s := scriptSettings(ts)
	client, err := connect(s)
	ts.Check(err)
	l, err := ledger.Open(context.Background(), s.Database.Reveal(), ledger.Options{Now: time.Now})
	ts.Check(err)
	service, err := newService(s, l, client, &account{client: client}, nil, nil)
	ts.Check(err)
	for i := range n {
		actor := overStdio("claude-code")
		actor.Subject += strconv.Itoa(i)
		raw, err := json.Marshal(map[string]any{"server": "web-server-01", "snapshot_id": 801, "reason": "the deploy broke login"})
		ts.Check(err)
		out, err := service.Call(context.Background(), policy.Call{Actor: actor, Operation: "restore_snapshot", Arguments: raw})
		ts.Check(err)
		ts.Setenv("ID", out.Standing.Request.ID)
	}
	ts.Check(l.Close())
}

func scriptTamper(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite", "file:"+scriptSettings(ts).Database.Reveal()[len("sqlite:"):])
	ts.Check(err)
	for _, name := range []string{"audit_record_update", "audit_record_delete"} {
		_, err := db.Exec("DROP TRIGGER IF EXISTS " + name)
		ts.Check(err)
	}
	result, err := db.Exec(args[0])
	ts.Check(err)
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		ts.Fatalf("nothing was tampered with: %v", err)
	}
	ts.Check(db.Close())
}
