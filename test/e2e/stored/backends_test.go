package stored

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wsnode/wsnode/relay/storage/postgres"
	"github.com/wsnode/wsnode/test/stores"
)

// startS3 runs a real S3 server, whose credentials nodes find in the environment.
func startS3(t *testing.T) (store string) {
	t.Helper()
	front := httptest.NewServer(stores.S3(t))
	t.Cleanup(front.Close)
	return "s3://" + stores.Bucket + "/prefix?region=us-east-1&path-style=1&endpoint=" + front.URL
}

// startPostgres runs a real PostgreSQL, with the table.
func startPostgres(t *testing.T) (store string) {
	t.Helper()
	store = "postgres:///postgres?user=admin&host=" + stores.Postgres(t)
	schema, err := postgres.Schema("")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, store)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err = conn.Exec(ctx, schema); err != nil {
		t.Fatal(err)
	}
	return store
}

func startBackend(t *testing.T) (b *stores.Backend, store string) {
	t.Helper()
	b = &stores.Backend{}
	front := httptest.NewServer(b)
	t.Cleanup(front.Close)
	return b, front.URL + "/{dbCode}/{tenantId}/{appId}/{document}"
}
