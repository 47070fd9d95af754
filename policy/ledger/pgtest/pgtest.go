// Package pgtest gives tests a PostgreSQL server of their own, so that they need
// none that is set up, and disturb none that is.
//
// A package's tests share one server, which [Main] ends, and each takes a new
// database of it from [Database]. A server listens on a free port of 127.0.0.1,
// wants a random password, keeps its files in a temporary folder and syncs
// nothing to disk. It ends with the process that started it, however that ends: a
// shell that watches the process stops it and removes its files.
//
// The programs of PostgreSQL are looked for on the PATH and where systems keep
// them beside it. Where there are none the tests are skipped, and say why. Since
// PostgreSQL refuses to be run by root, root's server runs as the user postgres,
// or nobody.
package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

var shared struct {
	sync.Mutex
	server    *Server
	err       error
	templates map[string]string // of their names, the databases
}

// Main runs the tests of a package, ends the server that they shared, if any, and
// returns what to exit with.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		shared.server.end()
	}
	return code
}

// Database is the url of a new, empty database on the server that the package's
// tests share. It is dropped when the test ends. The test is skipped where there is
// no PostgreSQL.
func Database(t testing.TB) string {
	t.Helper()
	return common(t).Database(t)
}

// Copy is like [Database], but with what fill has put into one, which is done once
// for each name. No connection may be left when fill returns.
func Copy(t testing.TB, name string, fill func(url string) error) string {
	t.Helper()
	s := common(t)
	shared.Lock()
	template, ok := shared.templates[name]
	if !ok {
		template = fmt.Sprintf("template_%d", databases.Add(1))
		err := s.admin("CREATE DATABASE " + template)
		if err == nil {
			err = fill(s.url(template))
		}
		if err != nil {
			shared.Unlock()
			t.Fatalf("making the database to copy: %v", err)
		}
		if shared.templates == nil {
			shared.templates = map[string]string{}
		}
		shared.templates[name] = template
	}
	shared.Unlock()
	return s.database(t, " TEMPLATE "+template)
}

func common(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = start(nil)
	}
	check(t, shared.err)
	return shared.server
}

// Start starts a server for one test, to be ill-treated: it ends with the test.
// Settings are added to those of the server, such as "fsync=on". The test is
// skipped where there is no PostgreSQL.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := start(settings)
	check(t, err)
	t.Cleanup(s.end)
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	missing, ok := err.(missingError) //nolint:errorlint // is not wrapped
	switch {
	case ok:
		t.Skip(string(missing))
	case err != nil:
		t.Fatalf("starting PostgreSQL: %v", err)
	}
}

// missingError says what a test needs that is not here.
type missingError string

func (e missingError) Error() string { return string(e) }

var databases atomic.Int64

// Database is the url of a new, empty database, dropped when the test ends.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return s.database(t, "")
}

func (s *Server) database(t testing.TB, options string) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", databases.Add(1))
	if err := s.admin("CREATE DATABASE " + name + options); err != nil {
		t.Fatalf("making a database: %v", err)
	}
	t.Cleanup(func() {
		if s.up.Load() {
			if err := s.admin("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
				t.Errorf("dropping a database: %v", err)
			}
		}
	})
	return s.url(name)
}

func (s *Server) admin(sql string) error {
	ctx := context.Background() // also when the test has ended
	c, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, sql)
	if closed := c.Close(ctx); err == nil {
		err = closed
	}
	return err
}

func (s *Server) url(database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", s.password), Host: s.Address(), Path: "/" + database}
	return u.String()
}

// Address is the host and port at which the server listens, whether it is up or not.
func (s *Server) Address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }
