package main

import (
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writeCertificate writes a fresh certificate and returns its serial number.
func writeCertificate(t *testing.T, cert, key string, at time.Time) string {
	t.Helper()
	config, err := ownCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	c := config.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return parsed.SerialNumber.String()
}

func TestAChangedCertificateIsServedAndABrokenOneIsNot(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	first := writeCertificate(t, cert, key, time.Unix(1, 0))
	c, err := loadCertificate(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	serves := func(want string) {
		t.Helper()
		c.looked = time.Time{} // as if the time to look had come
		got, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParseCertificate(got.Certificate[0])
		if err != nil || parsed.SerialNumber.String() != want {
			t.Errorf("serves %s, want %s, %v", parsed.SerialNumber, want, err)
		}
	}
	serves(first)
	second := writeCertificate(t, cert, key, time.Unix(2, 0))
	serves(second)
	c.looked = time.Now() // nobody would look
	third := writeCertificate(t, cert, key, time.Unix(2, 0))
	if err := c.reload(); err != nil {
		t.Error(err)
	}
	serves(third)
	if err := os.WriteFile(cert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.reload(); err == nil {
		t.Error("a broken certificate was read")
	}
	serves(third)
}
