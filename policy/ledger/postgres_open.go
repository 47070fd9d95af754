package ledger

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/vpsguard/vpsguard/policy"
)

func isPostgres(raw string) bool {
	scheme, _, ok := strings.Cut(raw, ":")
	return ok && (scheme == "postgres" || scheme == "postgresql")
}

// parsePostgres reads a url as PostgreSQL's own programs do. It has to name host
// and database, so that no variable of the environment decides which ledger it
// is. What is wrong is told without repeating the url, nor what pgx says of it.
func parsePostgres(raw string) (*pgxpool.Config, error) {
	const right = "Write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with %%-codes for what is special in the password."
	u, err := url.Parse(raw)
	if err != nil {
		return nil, policy.Errorf(policy.Invalid, "the ledger's url cannot be read").WithHint(right)
	}
	named := u.Query()
	switch {
	case strings.Contains(u.EscapedPath()+u.RawQuery, "@") || u.Fragment != "": // otherwise the rest of a password is shown as a name
		return nil, policy.Errorf(policy.Invalid, "the ledger's url has an @ or a # behind its host").WithHint(right)
	case u.Host == "" && named.Get("host") == "":
		return nil, policy.Errorf(policy.Invalid, "the ledger's url names no host").WithHint(right)
	case strings.Trim(u.Path, "/") == "" && named.Get("dbname") == "" && named.Get("database") == "":
		return nil, policy.Errorf(policy.Invalid, "the ledger's url names no database").WithHint(right)
	}
	config, err := pgxpool.ParseConfig(raw)
	if err != nil {
		return nil, policy.Errorf(policy.Invalid, "the ledger's url cannot be used as it is").
			WithHint("Check its port and its parameters, and that the files which it names can be read.")
	}
	if !named.Has("pool_max_conns") {
		config.MaxConns = postgresConns
	}
	config.MaxConns = max(config.MaxConns, postgresLeast)
	if !named.Has("application_name") {
		config.ConnConfig.RuntimeParams["application_name"] = "vpsguard"
	}
	if !named.Has("connect_timeout") {
		config.ConnConfig.ConnectTimeout = connectWithin
	}
	return config, nil
}

// postgresPath names a database to people.
func postgresPath(c *pgxpool.Config) string {
	host := c.ConnConfig.Host
	if !strings.HasPrefix(host, "/") { // otherwise the folder of a socket
		host = net.JoinHostPort(host, strconv.Itoa(int(c.ConnConfig.Port)))
	}
	path := "postgres://" + host + "/" + c.ConnConfig.Database
	if schema := c.ConnConfig.RuntimeParams["search_path"]; schema != "" {
		path += "?search_path=" + schema
	}
	return policy.Clean(path, 200)
}

func (p *postgres) wants() string {
	return "Check that the database's url is right, that it runs, and that it lets this user in and make tables."
}

// concerns are about what a commit is worth, and who can listen on the line.
func (p *postgres) concerns(ctx context.Context) (out []Concern, err error) {
	var syncs, whole string
	var encrypted, here, lags bool
	err = p.read(ctx, func(q querier) error {
		return q.QueryRow(ctx, `SELECT current_setting('fsync'), current_setting('full_page_writes'),
				coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
				coalesce(inet_client_addr() = inet_server_addr(), true),
				current_setting('synchronous_standby_names') = '' AND EXISTS (SELECT 1 FROM pg_stat_replication)`).
			Scan(&syncs, &whole, &encrypted, &here, &lags)
	})
	if err != nil {
		return nil, err
	}
	if syncs == "off" || whole == "off" {
		out = append(out, Concern{
			"the database's server does not sync what it stores; after a loss of power, records of what was done may be missing",
			"Set fsync and full_page_writes to on at the server.",
		})
	}
	if lags {
		out = append(out, Concern{
			"a standby that takes over may lack the last records of what was done: no commit waits for it",
			"Name it in synchronous_standby_names at the server, or never let it take over by itself.",
		})
	}
	if !encrypted && !here {
		out = append(out, Concern{
			"the line to the database is not encrypted; whoever can listen reads its password, and can change what is stored",
			"Add ?sslmode=verify-full to the url, and sslrootcert where the server's certificate needs one.",
		})
	}
	return out, nil
}
