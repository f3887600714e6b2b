package kv

import "testing"

func TestServersWithoutExpiringKeysAreRefused(t *testing.T) {
	for version, ok := range map[string]bool{
		"2.10.29": false, "2.11.0": true, "2.12.0-RC.1": true, "3.0.0": true, "1.99.0": false, "": false, "dev": false,
	} {
		if err := checkVersion(version, "nats://x"); (err == nil) != ok {
			t.Errorf("version %q: %v", version, err)
		}
	}
}
