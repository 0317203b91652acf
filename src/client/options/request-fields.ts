import { quote } from "./option-checks.js";

/** What is generated for a message. */
export interface MessageType<Message> {
  fromPartial(given: never): Message;
}

/**
 * A whole message from some of its fields. protobuf passes over fields that a message does not have: here they are errors.
 * @throws TypeError that names the field, its value and what there is
 */
export function wholeMessage<Message extends object>(type: MessageType<Message>, given: object): Message {
  const message = type.fromPartial(given as never);
  refuseUnknown(given, message, "");
  return message;
}

/** Messages and lists of them are in both at the same place; a map has the same keys in both. */
function refuseUnknown(given: object, message: object, path: string): void {
  for (const [field, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const name = Array.isArray(given) ? `${path}[${field}]` : path === "" ? field : `${path}.${field}`;
    if (!Object.hasOwn(message, field))
      throw new TypeError(`unknown field ${name} (${quote(value)}), allowed are ${Object.keys(message).join(", ")}`);
    const known = (message as Record<string, unknown>)[field];
    if (isObject(value) && isObject(known) && value !== known) refuseUnknown(value, known, name);
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !ArrayBuffer.isView(value);
}
