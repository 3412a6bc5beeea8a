package web_test

import (
	"fmt"
	"time"

	"github.com/lpseal/lpseal/jobs"
)

// rack fills a fleet with sectors at every point of the pipeline.
func (f *fleet) rack() {
	f.t.Helper()
	f.workers()
	for n := 1; n <= 4; n++ {
		f.add(sector(n), 30*time.Hour, n != 2)
		f.finish(sector(n))
	}
	at := func(n int, s jobs.Stage, ago time.Duration) jobs.SectorID {
		id := sector(n)
		f.add(id, ago+9*time.Hour, n%4 != 0)
		f.until(id, s, ago)
		return id
	}
	f.run(at(5, jobs.Finalize, 10*time.Minute), jobs.Finalize, 20*time.Second)
	f.do(at(6, jobs.Commit, 20*time.Minute), jobs.Commit, 4*time.Minute)
	f.fail(at(7, jobs.Commit, 20*time.Minute), jobs.Commit, 2*time.Minute,
		jobs.Failf(jobs.Funds, "the base fee is 12 nFIL: the message would cost 0.071 FIL, more than max_fee_commit (0.05 FIL)"))
	f.run(at(8, jobs.C2, 50*time.Minute), jobs.C2, 21*time.Minute)
	f.run(at(9, jobs.C2, 40*time.Minute), jobs.C2, 4*time.Minute)
	f.queue(at(10, jobs.C2, 35*time.Minute), jobs.C2, 11*time.Minute)
	f.fail(at(11, jobs.C2, 35*time.Minute), jobs.C2, 8*time.Minute, jobs.Failf(jobs.Busy, "Groth parameters are missing: lpseal params fetch"))

	seed := sector(12)
	f.add(seed, 12*time.Hour, false)
	f.until(seed, jobs.PreCommit, time.Hour)
	f.do(seed, jobs.PreCommit, 40*time.Minute)
	f.landPreCommit(seed)
	f.run(seed, jobs.Store, 3*time.Minute)
	f.progress(seed, jobs.Store, "copy sealed", 19<<30, 33<<30)

	f.do(at(13, jobs.PreCommit, 50*time.Minute), jobs.PreCommit, 3*time.Minute)
	f.run(at(14, jobs.PreCommit, 50*time.Minute), jobs.PreCommit, 9*time.Second)
	rc := f.run(at(15, jobs.TreeRC, 30*time.Minute), jobs.TreeRC, 14*time.Minute)
	f.progress(rc.ID, jobs.TreeRC, "tree-c", 5<<30, 9<<30)
	f.queue(at(16, jobs.TreeRC, 30*time.Minute), jobs.TreeRC, 6*time.Minute)

	bad := sector(17)
	f.add(bad, 5*time.Hour, true)
	f.until(bad, jobs.TreeD, time.Hour)
	f.do(bad, jobs.SDR, 50*time.Minute)
	fault := jobs.Failf(jobs.Data, "piece 0 is not what its CID says: look at /data/in/s-t01000-17.car")
	f.fail(bad, jobs.TreeD, 35*time.Minute, fault)
	f.write(bad, 35*time.Minute, "scheduler/s1", jobs.Held{Hold: jobs.Hold{Class: fault.Class, Stage: jobs.TreeD, Reason: fault.Text}})
	for i, layer := range []int{10, 8, 7, 5, 3, 1} {
		id := at(18+i, jobs.SDR, time.Duration(layer)*18*time.Minute)
		f.run(id, jobs.SDR, time.Duration(layer)*18*time.Minute)
		f.progress(id, jobs.SDR, fmt.Sprintf("layer %d/11", layer), uint64(i+2)<<32, 1<<35)
	}
	f.queue(at(24, jobs.SDR, 15*time.Minute), jobs.SDR, 12*time.Minute)
	f.queue(at(25, jobs.SDR, 12*time.Minute), jobs.SDR, 9*time.Minute)
	f.write(at(26, jobs.SDR, 12*time.Minute), 8*time.Minute, "cli", jobs.Held{Hold: jobs.Hold{Reason: "kept back until the new NVMe is in"}})

	pieces := sector(27)
	f.add(pieces, 20*time.Minute, true)
	f.until(pieces, jobs.TreeD, time.Minute)
	f.run(pieces, jobs.TreeD, 4*time.Minute)
	f.progress(pieces, jobs.TreeD, "tree-d", 22<<30, 32<<30)
	f.add(sector(28), 3*time.Minute, true)
}
