import koffi from "koffi";
import { libc } from "./libc.js";

const Group = koffi.struct("group", { gr_name: "char *", gr_passwd: "char *", gr_gid: "uint32_t", gr_mem: "void *" });
const getgrnam = libc.func("group *getgrnam(const char *name)");

/** The id of a group by its name, from wherever the machine keeps its groups; undefined when there is none. */
export function groupId(name: string): number | undefined {
  const group = getgrnam(name);
  return group === null ? undefined : (koffi.decode(group, Group) as { gr_gid: number }).gr_gid;
}
