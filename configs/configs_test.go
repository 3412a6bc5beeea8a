package configs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clean gives a test an environment without the machine's own configuration. viper reads the
// process's environment, so these tests cannot be parallel.
func clean(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	for _, name := range []string{"LOTUS_PATH", "LPSEAL_CONFIG", "FULLNODE_API_INFO", "MINER_API_INFO", "CURIO_API_INFO", "GOLOG_LOG_LEVEL", "GOLOG_LOG_FMT", "GOLOG_FILE"} {
		t.Setenv(name, "")
	}
	return dir
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestPrecedence(t *testing.T) {
	for _, c := range []struct {
		name             string
		flag, env, golog string
		file             string
		want, origin     string
	}{
		{name: "default", want: "info", origin: "default"},
		{name: "file", file: "log: {level: warn}", want: "warn", origin: "lpseal.yaml:1"},
		{name: "lotus's variable over the file", file: "log: {level: warn}", golog: "error", want: "error", origin: "GOLOG_LOG_LEVEL"},
		{name: "our variable over lotus's", golog: "error", env: "debug", want: "debug", origin: "LPSEAL_LOG_LEVEL"},
		{name: "flag over all", flag: "info,chain=debug", env: "debug", golog: "error", file: "log: {level: warn}", want: "info,chain=debug", origin: "flag"},
		{name: "an empty key in the file says nothing", file: "log:\n  level:\n", want: "info", origin: "default"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := clean(t)
			t.Setenv("LPSEAL_LOG_LEVEL", c.env)
			t.Setenv("GOLOG_LOG_LEVEL", c.golog)
			src := Source{Flags: map[string]string{}}
			if c.flag != "" {
				src.Flags["log.level"] = c.flag
			}
			if c.file != "" {
				src.File = write(t, filepath.Join(dir, "lpseal.yaml"), c.file)
			}
			l, err := Load(src)
			require.NoError(t, err)
			require.Equal(t, c.want, l.Config.Log.Level)
			require.Equal(t, c.origin, filepath.Base(l.Origin("log.level")))
		})
	}
}

func TestAlone(t *testing.T) {
	dir := clean(t)
	t.Setenv("FULLNODE_API_INFO", "token:http://mainnet:1234")
	t.Setenv("LPSEAL_HOST_ID", "other")
	t.Setenv("LPSEAL_WEB_TOKEN_FILE", filepath.Join(dir, "absent"))
	l, err := Load(Source{File: write(t, filepath.Join(dir, "demo.yaml"), "host: {id: h1}"), Alone: true})
	require.NoError(t, err)
	require.Empty(t, l.Config.Chain.API)
	require.Equal(t, "h1", l.Config.Host.ID)
}

func TestFileIsFound(t *testing.T) {
	dir := clean(t)
	xdg := write(t, filepath.Join(dir, "lpseal", "lpseal.yaml"), "host: {id: by-xdg}")
	env := write(t, filepath.Join(dir, "env.yaml"), "host: {id: by-env}")
	flag := write(t, filepath.Join(dir, "flag.yaml"), "host: {id: by-flag}")

	l, err := Load(Source{})
	require.NoError(t, err)
	require.Equal(t, "by-xdg", l.Config.Host.ID)
	require.Equal(t, xdg, l.File)

	t.Setenv("LPSEAL_CONFIG", env)
	l, err = Load(Source{})
	require.NoError(t, err)
	require.Equal(t, "by-env", l.Config.Host.ID)

	l, err = Load(Source{File: flag})
	require.NoError(t, err)
	require.Equal(t, "by-flag", l.Config.Host.ID)

	_, err = Load(Source{File: filepath.Join(dir, "absent.yaml")})
	require.ErrorContains(t, err, "absent.yaml")
}

func TestEveryErrorAtOnce(t *testing.T) {
	dir := clean(t)
	file := write(t, filepath.Join(dir, "lpseal.yaml"), `
redis:
  ulr: redis://127.0.0.1
  password: 12345
chain:
  confidence: "5"
  max_fee_commit: lots
scheduler:
  period: 10
worker:
  instance: GPU 0
  lanes:
    - {class: gpuu, width: many, lockstep: 2}
    - {class: cpu, widht: 1}
    - {class: gpu, gpu: A, warm: 5}
    - cpu
web: 8080
nonsense: 1
`)
	t.Setenv("LPSEAL_HOST_IDD", "x")
	t.Setenv("LPSEAL_PORT_80_TCP_ADDR", "10.0.0.1") // Kubernetes' own
	_, err := Load(Source{File: file, Flags: map[string]string{"web.token": "printed-in-no-problem", "log.levle": "info"}})
	require.Error(t, err)
	at := func(line int) string { return fmt.Sprintf("(%s:%d)", file, line) }
	var got []string
	for _, p := range Problems(err) {
		got = append(got, p.Error())
	}
	require.Equal(t, []string{
		"log.levle (--set): no such key; did you mean log.level?",
		"LPSEAL_HOST_IDD: no such variable; did you mean LPSEAL_HOST_ID?",
		"redis.ulr " + at(3) + ": no such key; did you mean redis.url?",
		"redis.password " + at(4) + ": not text; put it in quotes",
		`chain.confidence = "5" ` + at(6) + ": not a whole number; write digits only, without quotes",
		`chain.max_fee_commit = "lots" ` + at(7) + `: not an amount like 0.5 FIL`,
		"scheduler.period = 10 " + at(9) + ": not a duration; write a number with its unit, such as 10s or 5m",
		`worker.instance = "GPU 0" ` + at(11) + ": not a name; use [a-z0-9-]{1,40}: it becomes part of queue names and paths",
		`worker.lanes[0].width = "many" ` + at(13) + ": not a whole number; write digits only, without quotes",
		`worker.lanes[0].class = "gpuu" ` + at(13) + ": no such lane class; write one of sdr, cpu, gpu, io",
		"worker.lanes[1].widht = 1 " + at(14) + ": no such key; its keys are class, device, env, gpu, lockstep, prover, threads, warm, warm_idle, width",
		"worker.lanes[2].warm = 5 " + at(15) + ": not text; put it in quotes",
		`worker.lanes[2].gpu = "A" ` + at(15) + ": not a name; use [a-z0-9-]{1,40}: it becomes part of queue names and paths",
		"worker.lanes[3] = \"cpu\" " + at(16) + ": not an entry with keys; write it as in YAML: {class: …}",
		"web " + at(17) + ": a section is wanted here; lpseal config default shows its keys",
		"nonsense " + at(18) + ": no such key; lpseal config default shows all keys",
	}, got)
	require.NotContains(t, err.Error(), "12345")
	require.NotContains(t, err.Error(), "printed-in-no-problem")
}

func TestMalformedFiles(t *testing.T) {
	dir := clean(t)
	for _, c := range []struct{ name, text, want string }{
		{"twice", "log: {level: info}\nlog: {level: loud}\n", `line 2: mapping key "log" already defined at line 1; lpseal config default`},
		{"list", "- 5\n", ": not a file of keys and values; lpseal config default"},
		{"tab", "worker:\n\tlanes: []\n", ": line 2: found character that cannot start any token; lpseal config default"},
		{"open", "worker: {lanes: [\n", ": line 1: did not find expected node content; lpseal config default"},
	} {
		_, err := Load(Source{File: write(t, filepath.Join(dir, c.name+".yaml"), c.text)})
		require.ErrorContains(t, err, c.want, c.name)
		require.NotContains(t, err.Error(), "\n", c.name)
	}
	_, err := Load(Source{File: filepath.Join(dir, "absent.yaml")})
	require.EqualError(t, err, filepath.Join(dir, "absent.yaml")+": no such file or directory; name a file this user may read; lpseal config default prints one")
}

func TestBounds(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"redis.url", "http://x", "not an address of Redis"},
		{"redis.url", "http://user:sesame@x", `"http://…@x"`},
		{"host.id", "H1", "not a name"},
		{"host.state_dir", "state", "not an absolute path"},
		{"host.memory", "much", "not a size like 200GiB"},
		{"host.cores", "-1", "negative"},
		{"scheduler.instance", "S", "not a name"},
		{"scheduler.instance", "main", "is worker.instance, too"},
		{"worker.drain", "-1s", "negative"},
		{"worker.instance", "gpu/0", "not a name"},
		{"worker.lanes", "[{class: gpuu}]", "no such lane class; write one of sdr, cpu, gpu, io"},
		{"worker.lanes", "[{class:cpu}]", "worker.lanes[0].class:cpu (flag): no such key; YAML wants a space after the colon: class: cpu"},
		{"worker.lanes", "[{class: chain}]", "the scheduler serves this class itself"},
		{"worker.lanes", "[{class: gpu}]", "worker.lanes[0].gpu"},
		{"worker.lanes", "[{class: cpu, gpu: a}]", "a GPU is given to a lane of another class"},
		{"worker.lanes", "[{class: gpu, gpu: a, device: \"0\"}, {class: gpu, gpu: b, device: \"0\"}]", "worker.lanes[0] has this GPU already"},
		{"worker.lanes", "[{class: cpu, width: -1}]", "negative"},
		{"worker.lanes", "[{class: cpu, threads: -1}]", "negative"},
		{"worker.lanes", "[{class: sdr, lockstep: -1}]", "write 1 for none"},
		{"worker.lanes", "[{class: sdr, lockstep: 2}]", "more than the lane's width"},
		{"worker.lanes", "[{class: cpu, width: 2, lockstep: 2}]", "only layers are made together"},
		{"worker.lanes", "[{class: sdr, warm: always}]", "only c2 keeps parameters"},
		{"worker.lanes", "[{class: gpu, gpu: a, warm: hot}]", "write one of auto, always, never"},
		{"worker.lanes", "[{class: gpu, gpu: a, warm_idle: -1s}]", "negative"},
		{"worker.lanes", "[{class: cpu, prover: cuda}]", "write one of auto, native, filcrypto"},
		{"worker.provers.tree_rc", "cuda", "write one of auto, native, filcrypto"},
		{"worker.lanes", "[{class: sdr, env: [FIL_PROOFS_USE_MULTICORE_SDR]}]", "worker.lanes[0].env[0]"},
		{"worker.lanes", "[{class: gpu, gpu: a, env: [A=1, CUDA_VISIBLE_DEVICES=0]}]", "write device instead"},
		{"worker.lanes", "[{class: sdr, env: [RAYON_NUM_THREADS=4]}]", "write threads instead"},
		{"worker.lanes", "[{class: sdr, env: [LPSEAL_REDIS_URL=x]}]", "lpseal's own"},
		{"worker.lanes", "cpu", "not a list"},
		{"worker.paths", "[{dir: rel}]", "not an absolute path"},
		{"worker.paths", "[{dir: /a}, {dir: /a/}]", "named twice"},
		{"worker.file_service", "0.0.0.0:1", "shorter than 32 characters"},
		{"worker.file_service.listen", "nowhere", "not an address"},
		{"miners", "[{id: t01000}, {id: f01000}]", "named twice"},
		{"miners", "[{ranges: [1-2]}]", "missing"},
		{"miners", "[{id: t01000, ranges: [1-5, 5-9]}]", "overlaps 1-5"},
		{"miners", "[{id: t01000, ranges: [5-1]}]", "not a range"},
		{"miners", "[{id: bafy}]", "not an ID address"},
		{"chain.confidence", "0", "out of bounds"},
		{"chain.replace_after", "0", "out of bounds"},
		{"chain.max_replacements", "51", "out of bounds"},
		{"chain.max_fee_message", "0.01 FIL", "less than"},
		{"chain.sender.address", "t0x", "not a Filecoin address"},
		{"chain.sender.shared", "yes", "not true or false"},
		{"policy.release_layers", "never", "write one of after_c2, after_commit"},
		{"chain.aggregate", "always", "write one of auto, off"},
		{"policy.ticket_fresh", "-1", "negative"},
		{"policy.ticket_window", "900", "no epoch is left"},
		{"policy.look", "0s", "not a wait"},
		{"scheduler.period", "1ms", "choose whole seconds, 1s to 10m"},
		{"web.listen", "0.0.0.0:80", "web.token is empty"},
		{"web.token", "short", "shorter than 16 characters"},
		{"metrics.listen", "9645", "not an address"},
		{"log.level", "loud", "not a level"},
		{"log.format", "xml", "write one of text, json, color, nocolor"},
		{"handover.to", "boost", "write one of none, lotus-miner, curio"},
	} {
		t.Run(c.key+"="+c.value, func(t *testing.T) {
			clean(t)
			key := c.key
			if key == "worker.file_service" { // its secret is the problem
				key += ".listen"
			}
			_, err := Load(Source{Flags: map[string]string{key: c.value}})
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, c.key)
			require.NotContains(t, err.Error(), "sesame")
			require.NotEmpty(t, Problems(err))
		})
	}
}

func TestSecrets(t *testing.T) {
	dir := clean(t)
	const token = "correct horse battery staple"
	t.Setenv("LPSEAL_WEB_TOKEN_FILE", write(t, filepath.Join(dir, "token"), token+"\n"))
	l, err := Load(Source{})
	require.NoError(t, err)
	require.Equal(t, token, l.Config.Web.Token.Reveal())
	require.Equal(t, "LPSEAL_WEB_TOKEN_FILE", l.Origin("web.token"))

	var out bytes.Buffer
	require.NoError(t, l.Write(&out, true))
	m, err := l.Map()
	require.NoError(t, err)
	asJSON, err := json.Marshal(m)
	require.NoError(t, err)
	for _, printed := range []string{out.String(), string(asJSON), fmt.Sprintf("%v %+v %#v %s", l.Config, l.Config, l.Config, l.Config.Web.Token)} {
		require.NotContains(t, printed, token)
		require.Contains(t, printed, hidden)
	}

	t.Setenv("LPSEAL_WEB_TOKEN", "given again")
	_, err = Load(Source{})
	require.ErrorContains(t, err, "the secret is given twice")
	require.NotContains(t, err.Error(), "given again")

	t.Setenv("LPSEAL_WEB_TOKEN", "")
	t.Setenv("LPSEAL_WEB_TOKEN_FILE", filepath.Join(dir, "absent"))
	_, err = Load(Source{})
	require.ErrorContains(t, err, "web.token")

	_, err = Load(Source{Flags: map[string]string{"web.token": hidden}})
	require.ErrorContains(t, err, "not a secret")
}

func TestNodeAddressAsLotusUsersKnowIt(t *testing.T) {
	dir := clean(t)
	l, err := Load(Source{})
	require.NoError(t, err)
	require.Empty(t, l.Config.Chain.API)

	write(t, filepath.Join(dir, ".lotus", "api"), "/ip4/127.0.0.1/tcp/1234/http\n")
	write(t, filepath.Join(dir, ".lotus", "token"), "tok\n")
	l, err = Load(Source{})
	require.NoError(t, err)
	require.Equal(t, "tok:/ip4/127.0.0.1/tcp/1234/http", l.Config.Chain.API.Reveal())
	require.Equal(t, filepath.Join(dir, ".lotus"), l.Origin("chain.api"))

	t.Setenv("FULLNODE_API_INFO", "other:http://node:1234")
	l, err = Load(Source{})
	require.NoError(t, err)
	require.Equal(t, "other:http://node:1234", l.Config.Chain.API.Reveal())
}

func TestProverAddressAsItsOperatorsKnowIt(t *testing.T) {
	clean(t)
	for to, name := range handoverEnv {
		flags := map[string]string{"handover.to": string(to)}
		_, err := Load(Source{Flags: flags})
		require.ErrorContains(t, err, "handover.api")
		require.ErrorContains(t, err, "set "+name)
		t.Setenv(name, "token:http://"+string(to))
		l, err := Load(Source{Flags: flags})
		require.NoError(t, err)
		require.Equal(t, "token:http://"+string(to), l.Config.Handover.API.Reveal())
		require.Equal(t, name, l.Origin("handover.api"))
	}
	l, err := Load(Source{})
	require.NoError(t, err)
	require.Empty(t, l.Config.Handover.API, "nothing is handed over")
}

// The generated file is read back to the defaults, and so is any configuration printed
// without secrets: every type of field is written and read.
func TestRoundTrip(t *testing.T) {
	dir := clean(t)
	t.Setenv("LPSEAL_HOST_ID", "h1")
	var out bytes.Buffer
	require.NoError(t, WriteDefault(&out))
	l, err := Load(Source{File: write(t, filepath.Join(dir, "default.yaml"), out.String())})
	require.NoError(t, err)
	want := Default()
	want.Host.ID = "h1"
	for _, pair := range [][2]*FIL{ // big.Int holds equal values in unequal ways
		{&l.Config.Chain.MaxFeePreCommit, &want.Chain.MaxFeePreCommit}, {&l.Config.Chain.MaxFeeCommit, &want.Chain.MaxFeeCommit},
		{&l.Config.Chain.MaxFeeMessage, &want.Chain.MaxFeeMessage}, {&l.Config.Chain.WaitBaseFee, &want.Chain.WaitBaseFee},
	} {
		require.Equal(t, pair[1].String(), pair[0].String())
		*pair[0] = *pair[1]
	}
	// Empty lists are read as empty, not as absent.
	require.Empty(t, l.Config.Miners)
	l.Config.Miners, l.Config.Worker.Lanes, l.Config.Worker.Paths = nil, nil, nil
	require.Equal(t, want, l.Config)

	given := map[string]string{
		"miners":                 `[{id: t01000, ranges: [1-2, 5-9]}, {id: t01001}]`,
		"worker.lanes":           `[{class: gpu, gpu: a, device: "0", width: 1, prover: native, threads: 2}, {class: io}]`,
		"worker.paths":           `[{dir: /data/a}]`,
		"chain.max_fee_commit":   "0.000000000000000001 FIL",
		"scheduler.period":       "1m30s",
		"web.allow_writes":       "true",
		"policy.busy_wait":       "2s",
		"policy.seed_confidence": "7",
	}
	l, err = Load(Source{Flags: given})
	require.NoError(t, err)
	out.Reset()
	require.NoError(t, l.Write(&out, false))
	again, err := Load(Source{File: write(t, filepath.Join(dir, "view.yaml"), out.String())})
	require.NoError(t, err)
	require.Equal(t, l.Config.Miners, again.Config.Miners)
	require.Equal(t, l.Config.Worker, again.Config.Worker)
	require.Equal(t, "0.000000000000000001 FIL", again.Config.Chain.MaxFeeCommit.String())
	require.Equal(t, 90*time.Second, again.Config.Scheduler.Period)
	require.True(t, again.Config.Web.AllowWrites)
	require.EqualValues(t, 7, again.Config.Policy.SeedConfidence)
}

func TestHostNameBecomesAName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Sealer_07.example.org": "sealer-07",
		"h1":                    "h1",
		"-x-":                   "x",
		"":                      "",
	} {
		require.Equal(t, want, slug(name))
	}
}

func TestFIL(t *testing.T) {
	t.Parallel()
	for text, atto := range map[string]string{"0": "0", "1 FIL": "1000000000000000000", "0.05": "50000000000000000", ".5 FIL": "500000000000000000", "2.5 nFIL": "2500000000"} {
		f, err := ParseFIL(text)
		require.NoError(t, err)
		require.Equal(t, atto, f.Atto().String())
		back, err := ParseFIL(f.String())
		require.NoError(t, err)
		require.Equal(t, atto, back.Atto().String())
	}
	for _, bad := range []string{"", "FIL", "-1", "1e3", "nFIL", "0.0000000001 nFIL", "0.0000000000000000001", "1 WFIL"} {
		_, err := ParseFIL(bad)
		require.Error(t, err, bad)
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	l, err := ParseLevels("warn,chain=debug, queue=fatal")
	require.NoError(t, err)
	require.Equal(t, "WARN", l.Of("worker").String())
	require.Equal(t, "DEBUG", l.Of("chain").String())
	require.Equal(t, "ERROR", l.Of("queue").String())
}

// TestSizesReadBack in the words they are written in.
func TestSizesReadBack(t *testing.T) {
	for text, want := range map[string]Size{"": 0, "200GiB": 200 << 30, "1536MiB": 3 << 29, "64 GB": 64e9, "1000": 1000, "1.5GiB": 3 << 29} {
		var got, again Size
		require.NoError(t, got.UnmarshalText([]byte(text)))
		require.Equal(t, want, got, text)
		require.NoError(t, again.UnmarshalText([]byte(got.String())))
		require.Equal(t, want, again, got.String())
	}
}
