// Package configs is lpseal's configuration: one typed [Config], read through viper
// from flags, LPSEAL_* variables, a YAML file and defaults, in that order.
//
// It is strict: an unknown key, a value of the wrong type or outside its bounds is an
// error that names key, value, where it was written and the remedy, and all errors come
// at once ([Problem]). The struct tags are the documentation; [WriteDefault] prints
// them as a commented file, which a test reads back.
//
// Lists stand where other programs have maps keyed by miner or host, since viper lower-cases
// map keys.
package configs
