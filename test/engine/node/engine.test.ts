import { nodeEngine } from "../../../src/engine/node/engine.ts";
import { describeEngine } from "../conformance.ts";

describeEngine("node", nodeEngine);
