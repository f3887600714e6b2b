package postgres

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/jackc/pgpassfile"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wsnode/wsnode/relay/storage"
)

// classify turns an error of PostgreSQL into ours. What stays so until an operator
// acts is a refusal; a row that cannot be found is told by no error at all.
func classify(err error) error {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return err
	}
	switch {
	case answer.Code[:2] == "28", // authentication
		answer.Code == "42501", // permission
		answer.Code == "42P01", // no such table
		answer.Code == "42703", // no such column
		answer.Code == "3D000", // no such database
		answer.Code == "3F000", // no such schema
		answer.Code == "25006": // read-only
		return fmt.Errorf("%w: %w", storage.ErrRefused, err)
	case answer.Code == "54000": // a limit of the program
		return fmt.Errorf("%w: %w", storage.ErrTooLarge, err)
	}
	return err
}

func findPassword(file io.Reader, c *pgx.ConnConfig) (string, error) {
	entries, err := pgpassfile.ParsePassfile(file)
	if err != nil {
		return "", err
	}
	host := c.Host
	if network, _ := pgconn.NetworkAddress(c.Host, c.Port); network == "unix" {
		host = "localhost" // as libpq looks it up
	}
	password := entries.FindPassword(host, strconv.Itoa(int(c.Port)), c.Database, c.User)
	if password == "" {
		return "", fmt.Errorf("no password for %s@%s/%s", c.User, net.JoinHostPort(host, strconv.Itoa(int(c.Port))), c.Database)
	}
	return password, nil
}
