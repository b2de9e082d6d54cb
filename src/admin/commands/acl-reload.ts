/** `acl reload`: reads the ACL file of this node again; what it says holds at once for everybody. */
import { command } from "../command.js";

export const aclReload = command({
  summary: "read the ACL file of this node again; one that is not usable changes nothing",
  args: {},
  run: ({ acl }) => acl.reload(),
  text: ({ rules }) => `The ACL file has been read again; rules in force: ${rules}`,
});
