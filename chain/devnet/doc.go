// Package devnet is a Filecoin node for one machine: it answers over real HTTP and WebSocket JSON-RPC what a Lotus node of network
// version 28 answers, in shape, in errors and in rules, with epochs as fast as wanted.
//
// It is truthful. It draws tickets and seeds from its own chain, holds deposits and pledges, and asks a [Verifier] for every proof,
// so a wrong seal is refused here with the exit code that a real network gives. A native proof (jobs.VanillaTag) is no SNARK; it
// is accepted only when the C1 output behind it was offered first (Filecoin.LpsealOfferVanilla) and every opening in it verifies.
//
// What is simpler than a real network, on purpose:
//
//   - One block a tipset, no null rounds, no consensus: election proofs and state roots are digests of the right length, not proofs.
//   - Gas is a table by method (see gas.go), calibrated on recordings; base fee follows the real EIP-1559 rule.
//   - Deposit and pledge are linear in power, at the figures of a recorded 2 KiB network; there are no block rewards and no vesting.
//   - Of the builtin actors it runs accounts (send) and storage miners (send, PreCommitSectorBatch2, ProveCommitSectors3 with one
//     proof a sector). Everything else is "invalid method", as on a chain that lacks it.
//   - Allocations and deals of the market are made by order ([Node.Allocate], [Node.PublishDeal]), so that a client needs neither
//     datacap nor escrow. Claims and active deals come of committing their pieces, by the actors' rules.
//   - Nobody makes a WindowPoSt: a committed sector stays unproven until [Node.SetSector] says otherwise, and it never expires.
//
// Addresses print as address.CurrentNetwork says, which is the process's to set: Lotus's own test networks print t01000. Messages and
// verdicts on proofs are never forgotten; states are, after [Config].History epochs.
//
// Every state is an immutable value, so each tipset keeps its own at the price of what changed, and a query "at tipset" answers as
// of that tipset. It can misbehave on order: see [Misbehaviour] and [Node.Reorg].
package devnet
