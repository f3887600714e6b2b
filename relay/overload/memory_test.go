package overload

import (
	"testing"
	"testing/fstest"
)

// files are a file system by the names of its files.
func files(contents map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, content := range contents {
		m[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return m
}

const (
	unifiedMount = "24 1 0:22 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	memoryMount1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
	cpuMount1    = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
)

func TestTheLeastMemoryLimitOfAllControlGroupsAboveIsFound(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"MemoryMax of a systemd unit": {map[string]string{
			"proc/self/mountinfo": unifiedMount, "proc/self/cgroup": "0::/system.slice/wsnode.service\n",
			"sys/fs/cgroup/system.slice/wsnode.service/memory.max": "2147483648\n", "sys/fs/cgroup/system.slice/memory.max": "max\n",
		}, 2 << 30},
		"of the slice above it": {map[string]string{
			"proc/self/mountinfo": unifiedMount, "proc/self/cgroup": "0::/system.slice/sync.slice/wsnode.service\n",
			"sys/fs/cgroup/system.slice/sync.slice/wsnode.service/memory.max": "2147483648\n",
			"sys/fs/cgroup/system.slice/sync.slice/memory.max":                "1073741824\n",
		}, 1 << 30},
		"of a container with a namespace of its own": {map[string]string{
			"proc/self/mountinfo": unifiedMount, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "536870912\n",
		}, 512 << 20},
		"of version 1, nested": {map[string]string{
			"proc/self/mountinfo": cpuMount1 + memoryMount1, "proc/self/cgroup": "4:memory:/outer/inner\n1:cpu:/other\n0::/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":             "9223372036854771712\n",
			"sys/fs/cgroup/memory/outer/memory.limit_in_bytes":       "1073741824\n",
			"sys/fs/cgroup/memory/outer/inner/memory.limit_in_bytes": "9223372036854771712\n",
		}, 1 << 30},
		"of version 1 in a container that sees its own part": {map[string]string{
			"proc/self/mountinfo": "1 0 0:1 /docker/4a1b /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "proc/self/cgroup": "7:memory:/docker/4a1b\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
		}, 1 << 30},
		"of a part of the hierarchy that the process is not in": {map[string]string{
			"proc/self/mountinfo": "1 0 0:1 /docker/4a1b /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "proc/self/cgroup": "7:memory:/docker/4a1bc/x\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n", "sys/fs/cgroup/memory/c/x/memory.limit_in_bytes": "1\n",
		}, 1 << 30},
		"of a group that is seen from a namespace below it": {map[string]string{
			"proc/self/mountinfo": unifiedMount, "proc/self/cgroup": "0::/../other\n", "sys/fs/cgroup/memory.max": "536870912\n",
		}, 512 << 20},
		"of a hybrid system, the unified hierarchy elsewhere": {map[string]string{
			"proc/self/mountinfo": memoryMount1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"proc/self/cgroup":    "4:memory:/system.slice/wsnode.service\n0::/system.slice/wsnode.service\n",
			"sys/fs/cgroup/memory/system.slice/wsnode.service/memory.limit_in_bytes": "1073741824\n",
		}, 1 << 30},
		"mounted at a path with a space": {map[string]string{
			"proc/self/mountinfo": `1 0 0:1 / /mnt/control\040groups rw - cgroup2 none rw` + "\n", "proc/self/cgroup": "0::/a\n",
			"mnt/control groups/a/memory.max": "1073741824\n",
		}, 1 << 30},
		"of nobody": {map[string]string{
			"proc/self/mountinfo": unifiedMount + memoryMount1, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n",
		}, 0},
		"of a system without control groups": {nil, 0},
	} {
		if got := cgroupMemory(files(test.files)); got != test.want {
			t.Errorf("the limit %s: %d, expected %d", name, got, test.want)
		}
	}
}
