package ledger

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// sqlstate is PostgreSQL's code for an error; "" where the server has said none.
func sqlstate(err error) string {
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// says is written for the codes that notably happen; see appendix A of
// PostgreSQL's manual. What the server says itself is for the log: it may name
// users, hosts and values.
func (p *postgres) says(err error) string {
	if away := (*awayError)(nil); errors.As(err, &away) {
		err = away.err
	}
	code := sqlstate(err)
	switch code {
	case "25006": // read_only_sql_transaction
		return "the ledger's database is read-only"
	case "53100": // disk_full
		return "the ledger's disk is full"
	case "53200": // out_of_memory
		return "the ledger's database is out of memory"
	case "53300", "53400": // too_many_connections, configuration_limit_exceeded
		return "the ledger's database has no connection left for this program"
	case "28P01", "28000": // invalid_password, invalid_authorization_specification
		return "the ledger's database does not let this user in"
	case "3D000": // invalid_catalog_name
		return "the ledger's database does not exist"
	case "42501": // insufficient_privilege
		return "the ledger's database does not allow this user to do that"
	case "57014": // query_canceled
		return "the ledger's database did not answer in time"
	case "55P03", "40001", "40P01": // lock_not_available, serialization_failure, deadlock_detected
		return "the ledger is busy"
	case movedState:
		return "this ledger was moved"
	case "25P03": // idle_in_transaction_session_timeout
		return "the program was held up in the middle of a change"
	}
	switch {
	case code != "" && (code[:2] == "58" || code == "XX001" || code == "XX002"): // system_error, data_corrupted, index_corrupted
		return "the ledger's disk fails"
	case unreachable(err):
		return "the ledger's database cannot be reached"
	default:
		return "the ledger does not work"
	}
}

// unreachable tells whether an error is of the connection, or of a server that
// starts or stops.
func unreachable(err error) bool {
	switch code := sqlstate(err); {
	case code == "57P01", code == "57P02", code == "57P03", code == "25P03", code == "53300":
		return true // admin_shutdown, crash_shutdown, cannot_connect_now, and connections that were ended or are all taken
	case code != "":
		return code[:2] == "08"
	}
	connect, network := (*pgconn.ConnectError)(nil), net.Error(nil)
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded)
}
