package main

import (
	"github.com/spf13/pflag"

	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/apps"
)

func registerStateless(fl *pflag.FlagSet, into *string) {
	fl.StringVar(into, "stateless", string(apps.StatelessOff), "what becomes of stateless messages of Hocuspocus providers: off, or broadcast to all others of the document")
}

func applyStateless(value string, c *relay.Config) error {
	if c.Stateless = apps.Stateless(value); value != "" && !c.Stateless.Valid() {
		return wrongFlag("stateless", "%q: expected %s or %s", value, apps.StatelessOff, apps.StatelessBroadcast)
	}
	return nil
}
