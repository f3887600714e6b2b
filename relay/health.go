package relay

import (
	"net/http"
	"time"

	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/overload"
	"github.com/wsnode/wsnode/relay/room"
)

// health is how a node is, for balancers and for operators. Both hear of the same faults;
// but a balancer is told to send clients elsewhere only for what another node would do better.
type health struct {
	life      *lifetime
	bus       *bus.Bus
	registry  *kvpin.Registry
	stores    stores
	rooms     *room.Rooms
	gauge     *overload.Gauge
	strangers *strangers
}

// unsavedTooLong is the age of an unacknowledged edit from which on a node says that
// something is wrong: many times what a change of the stream's leader takes.
const unsavedTooLong = 30 * time.Second

// forBalancers says whether to send clients here. Without a registry live documents go on,
// so pulling every pod would do harm; without NATS nothing does.
func (h *health) forBalancers() (status string, code int) {
	switch {
	case h.life.unready() || !h.bus.Connected() || h.strangers.apart() != nil:
		return "degraded", http.StatusServiceUnavailable
	case h.gauge.Overloaded():
		return "overloaded", http.StatusServiceUnavailable
	case h.rooms.Unsaved() > unsavedTooLong || h.stores.down() || !h.registriesReachable():
		return "degraded", http.StatusOK
	}
	return "healthy", http.StatusOK
}

// state is what operators are told.
func (h *health) state() string {
	switch {
	case h.life.unready():
		return control.StateDraining
	case h.gauge.Overloaded():
		return control.StateOverloaded
	case h.strangers.apart() != nil || h.stores.down() || !h.registriesReachable():
		return control.StateDegraded
	}
	return control.StateReady
}

func (h *health) registriesReachable() bool {
	for _, license := range h.registry.LicenseRegions() {
		if !h.registry.Reachable(license) {
			return false
		}
	}
	return true
}
