package ledger

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// Options are what a ledger is opened with.
type Options struct {
	// Now is the host's clock. On SQLite it is the one that decides. It is required.
	Now func() time.Time
	// Logger gets warnings of the queue and of workers; nil drops them. What is
	// logged may hold internal text, but no secret and no document.
	Logger *slog.Logger
	// Existing makes nothing: where there is no ledger, opening fails with NotFound.
	Existing bool
}

// Open opens the ledger at "sqlite:PATH" or "postgres://USER:PASSWORD@HOST/DATABASE".
// A file that does not exist is made, for its owner only, and so are its folders;
// a database has to be there, and gets its tables where it is empty. Open returns
// when the ledger can be used; workers start with [Ledger.Work]. Its errors are of
// kind Invalid where the url, the file or the database is wrong, otherwise
// Unavailable, say what would be right, and hold neither the url nor the password.
func Open(ctx context.Context, url string, o Options) (*Ledger, error) {
	if o.Now == nil {
		return nil, internal("the ledger was opened without a clock")
	}
	log := slog.New(slog.DiscardHandler)
	if o.Logger != nil {
		log = slog.New(warnings{o.Logger.Handler()})
	}
	db, path, err := connect(url, o, log)
	if err != nil {
		return nil, err
	}
	l := &Ledger{db: db, log: log, path: path, grown: make(chan struct{}), closed: make(chan struct{})}
	if err := db.migrate(ctx, o.Existing); err != nil {
		_ = db.close()
		return nil, opening(l.fail("opening the ledger", err), path, db.wants())
	}
	return l, nil
}

// connect finds out which kind of database is meant, and where.
func connect(url string, o Options, log *slog.Logger) (db database, path string, err error) {
	if isPostgres(url) {
		config, err := parsePostgres(url)
		if err != nil {
			return nil, "", err
		}
		path = postgresPath(config)
		if db, err = openPostgres(config, o.Now, log); err != nil {
			return nil, "", policy.Errorf(policy.Internal, "the ledger %s cannot be opened", path).Because(err)
		}
		return db, path, nil
	}
	if path, err = parseURL(url); err != nil {
		return nil, "", err
	}
	if _, err := os.Stat(path); o.Existing && errors.Is(err, fs.ErrNotExist) {
		return nil, "", errMissing(path)
	}
	if err := makeFile(path); err != nil {
		return nil, "", err
	}
	if db, err = openSQLite(path, o.Now, log); err != nil {
		return nil, "", policy.Errorf(policy.Internal, "the ledger %s cannot be opened", path).Because(err)
	}
	return db, path, nil
}

// errNone is a database without a ledger, which was not to be made.
var errNone = errors.New("there is no ledger")

func errMissing(path string) error {
	return policy.Errorf(policy.NotFound, "there is no ledger at %s", policy.Clean(path, 300))
}

// opening adds to an error which ledger it is about, and what would be right.
func opening(err error, path, wants string) error {
	if errors.Is(err, errNone) {
		return errMissing(path)
	}
	e := policy.Public(err)
	message, hint := strings.TrimSuffix(e.Message, nothingChanged), e.Hint
	if e.Kind == policy.Unavailable {
		hint = wants
	}
	return policy.Errorf(e.Kind, "the ledger %s cannot be used: %s", path, message).WithHint("%s", hint).Because(e.Err)
}

// parseURL gives the path of the file. What is wrong is told without repeating
// the url, which may hold a password.
func parseURL(url string) (string, error) {
	const right = "Write sqlite:PATH, for example sqlite:/var/lib/vpsguard/ledger.db, or postgres://USER:PASSWORD@HOST/DATABASE."
	scheme, rest, ok := strings.Cut(url, ":")
	switch {
	case !ok:
		return "", policy.Errorf(policy.Invalid, "the ledger's url names no kind of database").WithHint(right)
	case scheme != "sqlite":
		return "", policy.Errorf(policy.Invalid, "the ledger's url names the unknown kind of database %q", policy.Clean(scheme, 20)).WithHint(right)
	case rest == "":
		return "", policy.Errorf(policy.Invalid, "the ledger's url names no file").WithHint(right)
	case strings.Contains(rest, ":memory:"):
		return "", policy.Errorf(policy.Invalid, "a ledger in memory would forget what was agreed").WithHint(right)
	case strings.HasPrefix(rest, "//") && !strings.HasPrefix(rest, "///"):
		return "", policy.Errorf(policy.Invalid, "the ledger's url names a host, but SQLite is a file").WithHint(right)
	case strings.ContainsRune(rest, 0) || strings.HasSuffix(rest, "/"):
		return "", policy.Errorf(policy.Invalid, "the ledger's url does not name a file").WithHint(right)
	}
	path, err := filepath.Abs(rest)
	if err != nil {
		return "", policy.Errorf(policy.Invalid, "the ledger's path cannot be made absolute").WithHint(right).Because(err)
	}
	return path, nil
}

// making guards makeFile: a file that is closed drops all locks that this
// process has on it, so nobody may have it open meanwhile.
var making sync.Mutex

// makeFile makes the file for its owner only, and its folders, where missing.
func makeFile(path string) error {
	making.Lock()
	defer making.Unlock()
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			err = f.Close()
		}
	}
	info, statErr := os.Stat(path)
	if statErr == nil && !info.Mode().IsRegular() {
		return policy.Errorf(policy.Invalid, "the ledger %s is not a regular file", path).WithHint("Name a file.")
	}
	if err == nil || errors.Is(err, fs.ErrExist) && statErr == nil {
		return ownersOnly(path, info)
	}
	why := "it cannot be made"
	switch {
	case errors.Is(err, fs.ErrPermission):
		why = "its folder may not be written"
	case errors.Is(err, syscall.EROFS):
		why = "its disk is read-only"
	case errors.Is(err, syscall.ENOSPC):
		why = "its disk is full"
	case errors.Is(err, syscall.ENOTDIR):
		why = "a part of its path is not a folder"
	}
	return policy.Errorf(policy.Unavailable, "the ledger %s cannot be used: %s", path, why).
		WithHint("Name a file in a folder where the program may write.").Because(err)
}

// ownersOnly refuses a file that others may write, or whose folder they may:
// whoever can write the ledger can set its passphrase. Windows has no such modes.
func ownersOnly(path string, file fs.FileInfo) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	const others = 0o022
	folder, err := os.Stat(filepath.Dir(path))
	switch {
	case file.Mode().Perm()&others != 0:
		return policy.Errorf(policy.Invalid, "the ledger %s may be written by other users", path).WithHint("Run: chmod go-w on it.")
	case err == nil && folder.Mode().Perm()&others != 0 && folder.Mode()&fs.ModeSticky == 0:
		return policy.Errorf(policy.Invalid, "the folder of the ledger %s may be written by other users", path).WithHint("Run: chmod go-w on that folder.")
	}
	return nil
}

// warnings lets through what is at least a warning.
type warnings struct{ slog.Handler }

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

func (h warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{h.Handler.WithAttrs(a)} }
func (h warnings) WithGroup(name string) slog.Handler   { return warnings{h.Handler.WithGroup(name)} }
