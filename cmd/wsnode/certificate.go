package main

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate serves a certificate from files and reads them again when they
// change. A change that cannot be read leaves the old one in use.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	changed [2]time.Time // modification times of the files that current is from
	looked  time.Time
}

// lookAtFiles is how long a change of the files may go unnoticed.
const lookAtFiles = 5 * time.Second

func loadCertificate(cert, key string, log *slog.Logger) (*certificate, error) {
	c := &certificate{cert: cert, key: key, log: log}
	return c, c.load()
}

// load reads the files. Callers hold mu, or are alone.
func (c *certificate) load() error {
	changed := [2]time.Time{modified(c.cert), modified(c.key)}
	current, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.current, c.changed = &current, changed
	return nil
}

func modified(file string) time.Time {
	info, err := os.Stat(file)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// reload reads the files now.
func (c *certificate) reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.load()
}

// get is for tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.looked) < lookAtFiles {
		return c.current, nil
	}
	c.looked = now
	if c.changed == [2]time.Time{modified(c.cert), modified(c.key)} {
		return c.current, nil
	}
	if err := c.load(); err != nil {
		c.log.Warn("the changed certificate cannot be read, the old one stays", "cert", c.cert, "err", err)
	} else {
		c.log.Info("the certificate changed", "cert", c.cert)
	}
	return c.current, nil
}
