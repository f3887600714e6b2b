package main

import (
	"os"

	"github.com/nats-io/nats.go"
)

func (f *serveFlags) natsOptions(creds string) (options []nats.Option, err error) {
	for flag, file := range map[string]string{"nats-creds": f.natsCreds, "nats-ca": f.natsCA, "nats-cert": f.natsCert, "nats-key": f.natsKey} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			return nil, wrongFlag(flag, "%v", err)
		}
	}
	if creds != "" {
		options = append(options, nats.UserCredentials(creds))
	}
	if f.natsCA != "" {
		options = append(options, nats.RootCAs(f.natsCA))
	}
	if (f.natsCert == "") != (f.natsKey == "") {
		return nil, wrongFlag("nats-cert", "expected together with --nats-key")
	}
	if f.natsCert != "" {
		options = append(options, nats.ClientCert(f.natsCert, f.natsKey))
	}
	return options, nil
}
