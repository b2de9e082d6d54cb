/** The commands of `broker ctl`, by name; a newcomer adds one file and one line. */
import type { Command } from "../command.js";
import { aclCheck } from "./acl-check.js";
import { aclReload } from "./acl-reload.js";
import { banAdd } from "./ban-add.js";
import { banDelete } from "./ban-delete.js";
import { banList } from "./ban-list.js";
import { clientsKick } from "./clients-kick.js";
import { clientsList } from "./clients-list.js";
import { clientsShow } from "./clients-show.js";
import { drainStart } from "./drain-start.js";
import { drainStatus } from "./drain-status.js";
import { drainUndo } from "./drain-undo.js";
import { rebalancePlan } from "./rebalance-plan.js";
import { rebalanceStart } from "./rebalance-start.js";
import { rebalanceStatus } from "./rebalance-status.js";
import { rebalanceStop } from "./rebalance-stop.js";
import { explain } from "./explain.js";
import { joinCluster } from "./join-cluster.js";
import { leaveCluster } from "./leave-cluster.js";
import { listeners } from "./listeners.js";
import { logLevel } from "./log-level.js";
import { metrics } from "./metrics.js";
import { names } from "./names.js";
import { outboxDiscard } from "./outbox-discard.js";
import { outboxList } from "./outbox-list.js";
import { outboxRedirect } from "./outbox-redirect.js";
import { outboxShow } from "./outbox-show.js";
import { presence } from "./presence.js";
import { publish } from "./publish.js";
import { removeFromCluster } from "./remove-from-cluster.js";
import { report } from "./report.js";
import { retainedDelete } from "./retained-delete.js";
import { retainedGet } from "./retained-get.js";
import { retainedList } from "./retained-list.js";
import { routesList } from "./routes-list.js";
import { routesVerify } from "./routes-verify.js";
import { sessionsDelete } from "./sessions-delete.js";
import { sessionsList } from "./sessions-list.js";
import { sessionsMove } from "./sessions-move.js";
import { sessionsShow } from "./sessions-show.js";
import { status } from "./status.js";
import { stop } from "./stop.js";
import { storeBackup } from "./store-backup.js";
import { storeCompact } from "./store-compact.js";
import { storeStats } from "./store-stats.js";
import { storeVerify } from "./store-verify.js";
import { subscriptionsList } from "./subscriptions-list.js";
import { usersAdd } from "./users-add.js";
import { usersDelete } from "./users-delete.js";
import { usersImport } from "./users-import.js";
import { usersList } from "./users-list.js";
import { usersPasswd } from "./users-passwd.js";

/** The name of a command is one word, or the word of its group and its own. */
export const commands: ReadonlyMap<string, Command> = new Map([
  ["join_cluster", joinCluster],
  ["leave_cluster", leaveCluster],
  ["remove_from_cluster", removeFromCluster],
  ["status", status],
  ["names", names],
  ["clients list", clientsList],
  ["clients show", clientsShow],
  ["clients kick", clientsKick],
  ["sessions list", sessionsList],
  ["sessions show", sessionsShow],
  ["sessions move", sessionsMove],
  ["sessions delete", sessionsDelete],
  ["drain start", drainStart],
  ["drain status", drainStatus],
  ["drain undo", drainUndo],
  ["rebalance plan", rebalancePlan],
  ["rebalance start", rebalanceStart],
  ["rebalance status", rebalanceStatus],
  ["rebalance stop", rebalanceStop],
  ["subscriptions list", subscriptionsList],
  ["routes list", routesList],
  ["routes verify", routesVerify],
  ["explain", explain],
  ["retained list", retainedList],
  ["retained get", retainedGet],
  ["retained delete", retainedDelete],
  ["outbox list", outboxList],
  ["outbox show", outboxShow],
  ["outbox redirect", outboxRedirect],
  ["outbox discard", outboxDiscard],
  ["presence", presence],
  ["publish", publish],
  ["users add", usersAdd],
  ["users passwd", usersPasswd],
  ["users delete", usersDelete],
  ["users import", usersImport],
  ["users list", usersList],
  ["acl check", aclCheck],
  ["acl reload", aclReload],
  ["ban add", banAdd],
  ["ban delete", banDelete],
  ["ban list", banList],
  ["store stats", storeStats],
  ["store verify", storeVerify],
  ["store compact", storeCompact],
  ["store backup", storeBackup],
  ["listeners", listeners],
  ["metrics", metrics],
  ["log level", logLevel],
  ["report", report],
  ["stop", stop],
]);
