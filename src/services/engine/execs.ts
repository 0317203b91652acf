import type { Engine } from "../../core/engine/engine.js";
import { deleteExec, exec } from "../../core/engine/operations/exec.js";
import { updateProcess } from "../../core/tasks/operations/update-process.js";
import { INIT } from "../../core/tasks/process.js";
import type { EngineServer, ExecRequest } from "../../proto/containerdts/engine/v1/engine.js";
import { stdioOf } from "./containers.js";
import type { EngineCall, EngineFront } from "./front.js";

type Served = "exec" | "deleteExec" | "resizeTerminal" | "closeStdin";

/** The calls about single processes of a container. */
export function execCalls(front: EngineFront, engine: Engine): Pick<EngineServer, Served> {
  return {
    exec: front.about(async (container, { request, signal }: EngineCall<ExecRequest>) => {
      const timeout = Number(request.timeout);
      const { id: execId, systemPid: pid } = await exec(
        engine,
        container,
        { ...request, timeout, stdio: stdioOf(request.stdio) },
        signal,
      );
      return { execId, pid };
    }),
    deleteExec: front.about((container, { request }) => {
      deleteExec(engine, container, request.execId);
      return {};
    }),
    resizeTerminal: front.about(({ namespace, id }, { request: { execId, width, height } }) => {
      const pid = execId || INIT;
      updateProcess(engine.tasks, { namespace, id, pid, closeStdin: false, width, height });
      return {};
    }),
    closeStdin: front.about((container, { request: { execId } }) => {
      const { namespace, id } = container;
      if (execId === "") engine.stdins.end(container);
      const pid = execId || INIT;
      updateProcess(engine.tasks, { namespace, id, pid, closeStdin: true, width: 0, height: 0 });
      return {};
    }),
  };
}
